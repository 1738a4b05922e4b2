//! Writes snapshots into the folder and keeps it within its bounds.

use std::io;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::super::Shared;
use super::note::Note;
use super::survey::{FileOnDisk, Survey, check_ends, own_program};
use crate::collect::{Source, StackId};
use crate::error::ErrorKind;
use crate::policy::{OnDisk, Owner};
use crate::profile::{BuildId, Mapping};
use crate::snapshot::{FileName, HeadText, Packer, ReasonName, RunFacts, RunId, RunRecord, Snapshot};
use crate::system::{CgroupReader, Folder, FolderFile, OomCounter, boot_id, loaded_mappings, since_boot};

/// So many files of earlier runs are looked at when a run begins, the newest: whether they are whole. The others are when
/// somebody asks for them.
const CHECKED: usize = 200;

/// So many records of runs are kept that have no snapshots any more.
const MOST_NOTES: usize = 20;

/// Room for what is known of so many files, from the start.
const USUAL_FILES: usize = 256;

/// Writes snapshots. All that writing one takes is made here at start; only another folder takes more.
pub(super) struct Store {
    packer: Packer,
    folder: Option<Folder>,
    /// Of the run, which has its name as soon as a folder is open.
    facts: RunFacts,
    text: HeadText,
    temporary: String,
    oom: Option<OomCounter>,
    /// Those of ended runs, then this one's, each oldest first.
    files: Vec<FileOnDisk>,
    /// As [`Survey::previous`].
    previous: Option<RunId>,
    /// Ended runs that left a record.
    notes: Vec<RunId>,
    judged: Vec<OnDisk>,
    removed: Vec<usize>,
    last_millis: u64,
    /// What this run leaves for the next one.
    note: Option<Note>,
    last_record: Option<RunRecord>,
}

impl Store {
    pub(super) fn new(shared: &Shared) -> Self {
        let program = own_program();
        let build_id = program_build_id(&loaded_mappings(), &program);
        let collector = shared.collector();
        let oom = CgroupReader::discover(std::path::Path::new("/")).oom_file().and_then(|path| OomCounter::open(&path));
        let run = RunId { number: 0, random: random() };
        let facts = RunFacts {
            run,
            started: SystemTime::now().checked_sub(shared.uptime()).unwrap_or(SystemTime::UNIX_EPOCH),
            started_since_boot: since_boot().saturating_sub(shared.uptime()),
            pid: std::process::id(),
            boot_id: boot_id(),
            program: program.clone(),
            build_id: build_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            oom_file: oom.as_ref().map_or(String::new(), |oom| oom.path().to_string_lossy().into_owned()),
            oom_file_number: oom.as_ref().map_or(0, OomCounter::number),
        };
        let text = HeadText {
            run,
            program,
            build_id,
            sample_interval: collector.interval().bytes(),
            has_birthdays: collector.source() == Source::Hooks,
        };
        Self {
            packer: Packer::new(),
            folder: None,
            facts,
            text,
            temporary: String::new(),
            oom,
            files: Vec::with_capacity(USUAL_FILES),
            previous: None,
            notes: Vec::new(),
            judged: Vec::with_capacity(USUAL_FILES),
            removed: Vec::with_capacity(USUAL_FILES),
            last_millis: 0,
            last_record: None,
            note: None,
        }
    }

    /// Has the folder open, and opens it again where another is at its place. Makes it when `may_make` says so.
    pub(super) fn open(&mut self, shared: &Shared, may_make: bool) -> io::Result<()> {
        let disk = shared.disk();
        let Some(path) = disk.folder() else { return Err(io::ErrorKind::NotFound.into()) };
        if self.folder.as_ref().is_some_and(Folder::is_in_place) {
            return Ok(());
        }
        self.folder = None;
        let folder = if may_make { Folder::open_or_make(path)? } else { Folder::open(path)? };
        let mut survey = Survey::of(&folder, || disk.run())?;
        let run = *disk.run.get_or_init(|| RunId { number: survey.next_number(), ..self.facts.run });
        (self.facts.run, self.text.run) = (run, run);
        self.temporary = format!(".{run}.tmp");
        let last = self.note.take().map(|note| note.last()).or(self.last_record);
        self.note = Some(Note::make(&folder, &self.facts, last)?);
        for name in &survey.temporary {
            // One that stays is found again.
            let _ = folder.remove(name);
        }
        for (name, reason) in survey.damaged.drain(..) {
            disk.set_aside(&folder, &name, &reason);
        }
        self.previous = survey.previous().map(|run| run.id);
        self.notes =
            survey.runs.iter().filter(|run| !run.is_running() && run.state.is_some()).map(|run| run.id).collect();
        self.files.clear();
        self.files.extend(survey.runs.iter().filter(|run| !run.is_running()).flat_map(|run| run.files.iter().copied()));
        self.check(shared, &folder);
        self.files.extend(survey.own);
        self.folder = Some(folder);
        self.forget_runs();
        self.tell(shared);
        Ok(())
    }

    /// Sets those of the newest files of earlier runs aside that are not whole.
    fn check(&mut self, shared: &Shared, folder: &Folder) {
        let unchecked = self.files.len().saturating_sub(CHECKED);
        let mut buffer = [0; FileName::MOST_BYTES];
        let mut at = 0;
        self.files.retain(|file| {
            at += 1;
            if at <= unchecked {
                return true;
            }
            let name = file.name.write(&mut buffer);
            match check_ends(folder, name) {
                Err(error) if error.kind() == ErrorKind::Malformed => {
                    shared.disk().set_aside(folder, name, &error);
                    false
                }
                // Whole, or not to be had now.
                _ => true,
            }
        });
    }

    /// Writes `snapshot` whole, or not at all.
    pub(super) fn write(&mut self, snapshot: &Snapshot, shared: &Shared) -> io::Result<()> {
        self.open(shared, true)?;
        let Some(folder) = &self.folder else { return Err(io::ErrorKind::NotFound.into()) };
        let name = name_of(snapshot, self.facts.run, self.last_millis);
        let Self { packer, text, temporary, .. } = self;
        let stacks = shared.collector().stacks();
        let bytes = write_whole(folder, temporary, &name, |file| {
            packer.write(snapshot, text, &|stack, each| stacks.frames(StackId(stack)).for_each(each), file)
        })?;
        self.last_millis = name.millis;
        self.files.push(FileOnDisk { name, bytes });
        let figures = &shared.disk().figures;
        figures.writes.fetch_add(1, Ordering::Relaxed);
        figures.last_write_millis.store(FileName::millis_of(SystemTime::now()), Ordering::Relaxed);
        self.retain(shared);
        self.tell(shared);
        Ok(())
    }

    /// Removes what is too much.
    fn retain(&mut self, shared: &Shared) {
        let Some(folder) = &self.folder else { return };
        let (own, previous) = (self.facts.run, self.previous);
        let owner = |run| match run {
            run if run == own => Owner::Own,
            run if Some(run) == previous => Owner::Previous,
            _ => Owner::Earlier,
        };
        self.judged.clear();
        let judged = |file: &FileOnDisk| OnDisk { owner: owner(file.name.run), bytes: file.bytes, rss: file.name.rss };
        self.judged.extend(self.files.iter().map(judged));
        self.removed.clear();
        let removed = &mut self.removed;
        shared.config().disk_retention.removals(&self.judged, |at| removed.push(at));
        if removed.is_empty() {
            return;
        }
        removed.sort_unstable();
        let mut buffer = [0; FileName::MOST_BYTES];
        let mut at = 0;
        let mut count = 0;
        self.files.retain(|file| {
            at += 1;
            if removed.binary_search(&(at - 1)).is_err() {
                return true;
            }
            let is_gone = match folder.remove(file.name.write(&mut buffer)) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            count += u64::from(is_gone);
            !is_gone
        });
        shared.disk().figures.removed.fetch_add(count, Ordering::Relaxed);
        self.forget_runs();
    }

    /// Removes the records of runs that have nothing left, but for the last ones.
    fn forget_runs(&mut self) {
        let Some(folder) = &self.folder else { return };
        let files = &self.files;
        let has_files = |run: &RunId| files.iter().any(|file| file.name.run == *run);
        let bare = self.notes.iter().filter(|run| !has_files(run)).count();
        let mut too_many = bare.saturating_sub(MOST_NOTES);
        self.notes.retain(|run| {
            let is_kept = too_many == 0 || has_files(run) || folder.remove(&Note::name(*run)).is_err();
            too_many -= usize::from(!is_kept);
            is_kept
        });
    }

    fn tell(&self, shared: &Shared) {
        let figures = &shared.disk().figures;
        figures.snapshots.store(self.files.len() as u64, Ordering::Relaxed);
        figures.bytes.store(self.files.iter().map(|file| file.bytes).sum(), Ordering::Relaxed);
    }

    /// Notes the last reading for the next run; allocates nothing.
    pub(super) fn note(&mut self, shared: &Shared, last_written: u64) {
        let reading = shared.status().reading;
        let last_snapshot = shared.history().last_id();
        let oom_kills = self.oom.as_ref().and_then(OomCounter::read);
        let said = shared.disk().said();
        if let Some(note) = &mut self.note {
            // What cannot be noted now can be later; the snapshots tell whether the disk works.
            let _ = note.write(|record| {
                record.time = SystemTime::now();
                record.reading = reading.or(record.reading);
                record.oom_kills = oom_kills.or(record.oom_kills);
                (record.last_snapshot, record.last_written) = (last_snapshot, last_written);
                record.said = record.said.or(said);
            });
            self.last_record = Some(note.last());
        }
    }
}

/// A name after the last one: a clock that went back must not put a file before an earlier one.
fn name_of(snapshot: &Snapshot, run: RunId, last_millis: u64) -> FileName {
    let reason = ReasonName::of(snapshot.reason.name());
    let millis = FileName::millis_of(snapshot.time).max(last_millis);
    FileName { millis, run, id: snapshot.id, reason, rss: snapshot.reading.process.rss }
}

/// Writes a file under a temporary name, which no reader takes for a snapshot, and gives it its name when it is on the disk.
fn write_whole(
    folder: &Folder,
    temporary: &str,
    name: &FileName,
    write: impl FnOnce(&mut FolderFile) -> io::Result<u64>,
) -> io::Result<u64> {
    let mut file = match folder.create(temporary) {
        // Left by a write that could not be taken back.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            folder.remove(temporary)?;
            folder.create(temporary)?
        }
        created => created?,
    };
    let written = write(&mut file).and_then(|bytes| {
        file.sync()?;
        folder.rename(temporary, name.write(&mut [0; FileName::MOST_BYTES]))?;
        Ok(bytes)
    });
    let bytes = written.inspect_err(|_| {
        // What is left is taken away by the next write, or the next run.
        let _ = folder.remove(temporary);
    })?;
    folder.sync()?;
    Ok(bytes)
}

/// The build id of the program's own file.
fn program_build_id(mappings: &[Mapping], program: &str) -> Option<BuildId> {
    mappings.iter().find(|mapping| mapping.path == program)?.build_id.clone()
}

/// To tell runs apart that begin at once; nothing secret.
fn random() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Cohort, Cohorts, PackedTotals, ReturnAddress, SampleInterval, Totals};
    use crate::snapshot::empty_snapshot;
    use crate::system::thread_allocated;
    use std::io::Write;

    /// Of stack `id`: deep, and in its root alike for neighbours.
    fn frames_of(id: u32) -> Vec<ReturnAddress> {
        let leaf = |at| if at < 3 { u64::from(id) * 0x1003 } else { 0 };
        (0..u64::from(id) % 40).map(|at| ReturnAddress(0x5555_5555_0000 + at * 0x77 + leaf(at))).collect()
    }

    fn snapshot(stacks: u32) -> Snapshot {
        let interval = SampleInterval::from_lg(19).unwrap();
        let cohort = |id: u32| Cohort { stack: id, epoch: id % 3, live: interval.weigh(u64::from(id) % 999 * 16 + 16) };
        let total = |id: u32| Totals { stack: id, objects: 9, estimated_bytes: 9 << 19, ..Totals::default() };
        let mut snapshot = Snapshot::clone(&empty_snapshot(7, 100 << 20));
        snapshot.cohorts = Cohorts::of(&(0..stacks).map(cohort).collect::<Vec<_>>());
        snapshot.totals = PackedTotals::pack(stacks as usize, (0..stacks).map(total));
        snapshot.mappings = loaded_mappings().into();
        snapshot
    }

    fn text() -> HeadText {
        let run = RunId { number: 1, random: 2 };
        HeadText { run, program: "p".repeat(200), build_id: None, sample_interval: 1 << 19, has_birthdays: true }
    }

    /// A small memory group has no room when it matters.
    #[test]
    fn writing_a_file_allocates_nothing() {
        const STACKS: u32 = 20_000;
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        let (snapshot, text, mut packer) = (snapshot(STACKS), text(), Packer::new());
        // Frames that are there, as the collector's are.
        let stacks: Vec<Vec<ReturnAddress>> = (0..STACKS).map(frames_of).collect();
        let frames =
            |id: u32, each: &mut dyn FnMut(ReturnAddress)| stacks[id as usize].iter().for_each(|frame| each(*frame));
        let allocated = || thread_allocated().expect("this jemalloc counts");
        let mut sizes = [0; 3];
        for (id, size) in (1..).zip(&mut sizes) {
            let before = allocated();
            let reason = ReasonName::of(snapshot.reason.name());
            let name = FileName { millis: 1_795_283_516_123, run: text.run, id, reason, rss: 1 << 30 };
            *size = write_whole(&folder, ".tmp", &name, |file| packer.write(&snapshot, &text, &frames, file)).unwrap();
            assert_eq!(allocated() - before, 0, "bytes allocated while a snapshot is written");
            assert_eq!(folder.size_and_age(&name.to_string()).unwrap().0, *size);
        }
        assert_eq!(sizes[0], sizes[2]);
        // Compact: eight bytes a frame alone would be 3 MB.
        assert!(sizes[0] < 1_000_000, "{sizes:?}");
    }

    #[test]
    fn names_sort_as_snapshots_were_taken_whatever_the_clock_does() {
        let mut last = (0, String::new());
        let hours = [500_000u64, 500_001, 400_000, 499_999, 0, 500_002, 500_001].map(|hour| hour * 3_600_000);
        for (id, millis) in (1..).zip(hours) {
            let mut one = Snapshot::clone(&empty_snapshot(id, 1));
            one.time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis);
            let name = name_of(&one, text().run, last.0);
            assert!(name.to_string() > last.1, "{name} after {}", last.1);
            last = (name.millis, name.to_string());
        }
        assert_eq!(last.0, 500_002 * 3_600_000);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_no_name() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        let name = FileName { millis: 1, run: text().run, id: 1, reason: ReasonName::of("requested"), rss: 1 };
        let write = |fails: Option<i32>| {
            write_whole(&folder, ".tmp", &name, |file| {
                file.write_all(b"half")?;
                fails.map_or(Ok(4), |error| Err(io::Error::from_raw_os_error(error)))
            })
        };
        let names = || {
            let mut names = Vec::new();
            folder.list(|name| names.push(name.to_owned())).unwrap();
            names
        };
        for error in [libc::EIO, libc::ENOSPC, libc::EACCES, libc::EDQUOT] {
            assert_eq!(write(Some(error)).unwrap_err().raw_os_error(), Some(error));
            assert!(names().is_empty(), "{:?}", names());
        }
        // One that was left by a process that was killed is no hindrance.
        folder.create(".tmp").unwrap();
        assert_eq!(write(None).unwrap(), 4);
        assert_eq!(names(), [name.to_string()]);
    }
}
