//! Writes snapshots into the folder and keeps it within its bounds.

use std::io;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::super::{ProcessReading, Shared};
use super::Disk;
use super::note::Note;
use super::survey::{FileOnDisk, Survey, check_ends, own_program};
use crate::collect::Source;
use crate::error::ErrorKind;
use crate::policy::{DiskRetention, MOST_EPISODES, OnDisk, Owner};
use crate::profile::{BuildId, Mapping, ReturnAddress};
use crate::snapshot::{
    FileName, HeadText, MOST_READINGS, Packer, ReasonName, RunEpisode, RunFacts, RunId, RunReading, RunRecord, Snapshot,
};
use crate::system::{CgroupReader, Folder, FolderFile, OomCounter, boot_id, loaded_mappings, since_boot};

/// So many files of earlier runs are looked at when a run begins, the newest: whether they are whole. The others are when
/// somebody asks for them.
const CHECKED: usize = 200;

/// So many records of runs are kept that have no snapshots any more.
const MOST_NOTES: usize = 20;

/// So many files there are at most beside those that the bound counts: the pinned ones, and the one that was just written.
const BESIDE_THE_COUNT: usize = 8;

/// Calls its second with each frame of the stack of that number, leaf first.
pub(super) type Frames<'f> = dyn Fn(u32, &mut dyn FnMut(ReturnAddress)) + 'f;

/// Writes snapshots. All that writing one takes is made here at start; only another folder takes more.
pub(super) struct Store {
    packer: Packer,
    retention: DiskRetention,
    folder: Option<Folder>,
    /// Whether there was one.
    had_folder: bool,
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
        Self::of(facts, text, oom, shared.config().disk_retention)
    }

    fn of(facts: RunFacts, text: HeadText, oom: Option<OomCounter>, retention: DiskRetention) -> Self {
        let most = retention.count + BESIDE_THE_COUNT;
        Self {
            packer: Packer::new(),
            retention,
            folder: None,
            had_folder: false,
            facts,
            text,
            temporary: String::new(),
            oom,
            files: Vec::with_capacity(most),
            previous: None,
            notes: Vec::new(),
            judged: Vec::with_capacity(most),
            removed: Vec::with_capacity(most),
            last_millis: 0,
            last_record: None,
            note: None,
        }
    }

    /// Whether the folder that was open is no longer where it was, and with it what was written.
    pub(super) fn has_lost_its_folder(&self) -> bool {
        self.had_folder && !self.folder.as_ref().is_some_and(Folder::is_in_place)
    }

    /// Has the folder open, and opens it again where another is at its place. Makes it when `may_make` says so. Where it was not
    /// open: the last snapshot of this run that it has, 0 if it has none.
    pub(super) fn open(&mut self, disk: &Disk, may_make: bool) -> io::Result<Option<u64>> {
        let Some(path) = disk.folder() else { return Err(io::ErrorKind::NotFound.into()) };
        if self.folder.as_ref().is_some_and(Folder::is_in_place) {
            return Ok(None);
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
        self.check(disk, &folder);
        let last_own = survey.own.iter().map(|file| file.name.id).max().unwrap_or(0);
        // Those that are written once more get their own times.
        self.last_millis = survey.own.iter().map(|file| file.name.millis).max().unwrap_or(0);
        self.files.extend(survey.own);
        self.reserve();
        (self.folder, self.had_folder) = (Some(folder), true);
        self.forget_runs();
        self.tell(disk);
        Ok(Some(last_own))
    }

    /// Makes room for all that there can be beside what was found.
    fn reserve(&mut self) {
        self.files.reserve(self.retention.count + BESIDE_THE_COUNT);
        let most = self.files.capacity();
        self.judged.clear();
        self.judged.reserve(most);
        self.removed.clear();
        self.removed.reserve(most);
    }

    /// Sets those of the newest files of earlier runs aside that are not whole.
    fn check(&mut self, disk: &Disk, folder: &Folder) {
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
                    disk.set_aside(folder, name, &error);
                    false
                }
                // Whole, or not to be had now.
                _ => true,
            }
        });
    }

    /// Writes `snapshot`, whose stacks have these `frames`, whole or not at all, into the folder that is open; allocates nothing.
    pub(super) fn write(&mut self, snapshot: &Snapshot, frames: &Frames<'_>, disk: &Disk) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Err(io::ErrorKind::NotFound.into()) };
        let name = name_of(snapshot, self.facts.run, self.last_millis);
        let Self { packer, text, temporary, .. } = self;
        let bytes = write_whole(folder, temporary, &name, |file| packer.write(snapshot, text, frames, file))?;
        self.last_millis = name.millis;
        self.files.push(FileOnDisk { name, bytes });
        let figures = &disk.figures;
        figures.writes.fetch_add(1, Ordering::Relaxed);
        figures.last_write_millis.store(FileName::millis_of(SystemTime::now()), Ordering::Relaxed);
        self.retain(disk);
        self.tell(disk);
        Ok(())
    }

    /// Removes what is too much.
    fn retain(&mut self, disk: &Disk) {
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
        self.retention.removals(&self.judged, |at| removed.push(at));
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
            let removed = folder.remove(file.name.write(&mut buffer));
            count += u64::from(removed.is_ok());
            !is_gone(removed)
        });
        disk.figures.removed.fetch_add(count, Ordering::Relaxed);
        self.forget_runs();
    }

    /// Removes the records of runs that have nothing left, but for the last ones.
    fn forget_runs(&mut self) {
        let Some(folder) = &self.folder else { return };
        let files = &self.files;
        let has_files = |run: &RunId| files.iter().any(|file| file.name.run == *run);
        let bare = self.notes.iter().filter(|run| !has_files(run)).count();
        let mut too_many = bare.saturating_sub(MOST_NOTES);
        let mut buffer = [0; 32];
        self.notes.retain(|run| {
            let is_kept = too_many == 0 || has_files(run) || !is_gone(folder.remove(Note::name_in(*run, &mut buffer)));
            too_many -= usize::from(!is_kept);
            is_kept
        });
    }

    fn tell(&self, disk: &Disk) {
        let figures = &disk.figures;
        figures.snapshots.store(self.files.len() as u64, Ordering::Relaxed);
        figures.bytes.store(self.files.iter().map(|file| file.bytes).sum(), Ordering::Relaxed);
    }

    /// Notes the last readings for the next run, and the rises that there were; allocates nothing.
    pub(super) fn note(&mut self, shared: &Shared, last_written: u64) {
        let reading = shared.status().reading;
        let last_snapshot = shared.history().last_id();
        let oom_kills = self.oom.as_ref().and_then(OomCounter::read);
        let said = shared.disk().said();
        let Some(note) = &mut self.note else { return };
        // What cannot be noted now can be later; the snapshots tell whether the disk works.
        let _ = note.write(|record| {
            record.time = SystemTime::now();
            record.reading = reading.or(record.reading);
            record.oom_kills = oom_kills.or(record.oom_kills);
            (record.last_snapshot, record.last_written) = (last_snapshot, last_written);
            record.said = record.said.or(said);
        });
        self.last_record = Some(note.last());
        let readings = &shared.monitoring.readings;
        // One after the other: none of the watcher's locks is held while a disk is written to.
        while let Some((number, reading)) = readings.after(note.last_reading(), MOST_READINGS) {
            if note.write_reading(&run_reading(number, &reading)).is_err() {
                break;
            }
        }
        let mut episodes = [None; MOST_EPISODES];
        for (noted, episode) in episodes.iter_mut().zip(shared.episodes().all()) {
            *noted = Some(RunEpisode::of(episode));
        }
        let _ = note.write_episodes(&episodes);
    }
}

fn run_reading(number: u64, reading: &ProcessReading) -> RunReading {
    let ProcessReading { time, uptime, rss, cgroup_usage, cpu_percent } = *reading;
    RunReading { number, time, uptime, rss, cgroup_usage, cpu_percent }
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

/// Removed, or by somebody else before.
fn is_gone(removed: io::Result<()>) -> bool {
    removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

#[cfg(test)]
mod tests;
