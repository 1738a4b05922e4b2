//! What is in the folder: runs, how they ended, and their snapshots.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::note::Note;
use super::set_aside::{self, SetAside};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Certainty, EndOfRun, How, KernelWord, Lived, Traces};
use crate::snapshot::{
    FileName, MOST_HEAD_BYTES, RunFacts, RunId, RunState, STATE_BYTES, TRAILER_BYTES, Trailer, read_head, read_state,
    write_end,
};
use crate::system::{Folder, OomCounter, boot_id, kills_by_kernel};

/// A temporary file of a run that left no word is somebody's who begins at this moment, for as long.
const BEGINNING: Duration = Duration::from_secs(60);

/// What is in the folder.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// By rising number, this one excepted.
    pub(crate) runs: Vec<RunOnDisk>,
    /// This run, once it has a name, and its program's file.
    run: Option<RunId>,
    program: String,
    /// This run's snapshots, oldest first.
    pub(crate) own: Vec<FileOnDisk>,
    /// Temporary files that nobody writes any more.
    pub(super) temporary: Vec<String>,
    /// State files that cannot be read.
    pub(super) damaged: Vec<(String, Error)>,
    /// Records of a newer heapward's, which are left to it.
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) set_aside: Vec<SetAside>,
}

/// A file that is left where it is, and why it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) file: String,
    pub(crate) reason: String,
}

/// A run that left something.
#[derive(Debug)]
pub(crate) struct RunOnDisk {
    pub(crate) id: RunId,
    /// `None` where it left none that can be read.
    pub(crate) state: Option<RunState>,
    /// The program's file; `None` where nothing that can be read says.
    program: Option<String>,
    pub(crate) end: EndOfRun,
    /// Oldest first.
    pub(crate) files: Vec<FileOnDisk>,
}

/// A snapshot in the folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileOnDisk {
    pub(crate) name: FileName,
    pub(crate) bytes: u64,
}

impl RunOnDisk {
    pub(crate) fn is_running(&self) -> bool {
        self.end.how == How::Running
    }
}

impl Survey {
    /// Looks through `folder`. `own` is asked for this run after the names were listed: it has its name before it has a file,
    /// so a file of its own is never taken for another run's, not even when it begins at this moment. To open and close that
    /// file would take the lock off it.
    pub(crate) fn of(folder: &Folder, own: impl FnOnce() -> Option<RunId>) -> io::Result<Self> {
        let mut files: BTreeMap<RunId, Vec<FileOnDisk>> = BTreeMap::new();
        let mut temporary = Vec::new();
        folder.list(|name| {
            if let Some(name) = FileName::parse(name) {
                files.entry(name.run).or_default().push(FileOnDisk { name, bytes: 0 });
            } else if let Some(run) = Note::parse(name) {
                files.entry(run).or_default();
            } else if let Some(run) = temporary_of(name) {
                temporary.push((run, name.to_owned()));
            }
        })?;
        let own = own();
        let program = own_program();
        let mut this = Self { set_aside: set_aside::list(folder), run: own, program, ..Self::default() };
        let mut buffer = [0; FileName::MOST_BYTES];
        for (id, mut files) in files {
            files.sort_unstable_by_key(|file| (file.name.millis, file.name.id));
            // One that is gone meanwhile, or is no file, is none.
            files.retain_mut(|file| match folder.size_and_age(file.name.write(&mut buffer)) {
                Ok((bytes, _)) => {
                    file.bytes = bytes;
                    true
                }
                Err(_) => false,
            });
            if Some(id) == own {
                this.own = files;
                continue;
            }
            let (state, end) = match read_run(folder, id) {
                Ok((state, end)) => (state, end),
                Err(error) => {
                    let why = format!("its record cannot be read: {error}");
                    let file = Note::name(id);
                    match error.kind() {
                        ErrorKind::NewerFormat => {
                            this.unreadable.push(Unreadable { file, reason: error.to_string() });
                        }
                        _ => this.damaged.push((file, error)),
                    }
                    (None, unknown(why))
                }
            };
            let program = match &state {
                Some(state) => Some(state.facts.program.clone()),
                None => files.last().and_then(|file| program_of(folder, file.name.write(&mut buffer))),
            };
            this.runs.push(RunOnDisk { id, state, program, end, files });
        }
        let is_left = |run: &RunId, name: &str| match this.runs.iter().find(|known| known.id == *run) {
            Some(known) => !known.is_running(),
            None => folder.size_and_age(name).is_ok_and(|(_, age)| age > BEGINNING),
        };
        temporary.retain(|(run, name)| Some(*run) != own && is_left(run, name));
        this.temporary = temporary.into_iter().map(|(_, name)| name).collect();
        Ok(this)
    }

    /// A number that no run has yet.
    pub(super) fn next_number(&self) -> u32 {
        self.runs.iter().map(|run| run.id.number).max().unwrap_or(0).saturating_add(1)
    }

    /// The previous run, for whoever asks and for what is kept of it alike: the last one of this program that began before this
    /// run, is over and left snapshots.
    pub(crate) fn previous(&self) -> Option<&RunOnDisk> {
        let is_it = |run: &&RunOnDisk| {
            let is_before = self.run.is_none_or(|own| run.id.number < own.number);
            is_before && !run.is_running() && !run.files.is_empty() && self.is_of_this_program(run)
        };
        self.runs.iter().rev().find(is_it)
    }

    /// By the name of its file: a new version of a service may be in another folder.
    fn is_of_this_program(&self, run: &RunOnDisk) -> bool {
        let name = |path: &str| Path::new(path).file_name().map(ToOwned::to_owned);
        // Where this run does not know its own, any is.
        name(&self.program).is_none_or(|own| run.program.as_deref().and_then(name) == Some(own))
    }
}

/// The file of this program; empty where the kernel does not say.
pub(super) fn own_program() -> String {
    let program = std::fs::read_link("/proc/self/exe");
    let program = program.map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned());
    // As the kernel calls it when a new version was put in its place.
    program.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(program)
}

/// The program that wrote the snapshot `name`.
fn program_of(folder: &Folder, name: &str) -> Option<String> {
    let mut head = vec![0; MOST_HEAD_BYTES];
    let file = folder.open_file(name, false).ok()?;
    let (head, _) = read_head(file.read_at(&mut head, 0).ok()?).ok()?;
    Some(head.text.program)
}

/// `.12-9f3c0a1b.tmp` and `.12-9f3c0a1b.run.tmp`.
fn temporary_of(name: &str) -> Option<RunId> {
    let run = name.strip_prefix('.')?.strip_suffix(".tmp")?;
    run.strip_suffix(".run").unwrap_or(run).parse().ok()
}

/// What the run `id` noted, and how it ended, which is found out once and then noted.
fn read_run(folder: &Folder, id: RunId) -> Result<(Option<RunState>, EndOfRun)> {
    let name = Note::name(id);
    let file = match folder.open_file(&name, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((None, unknown("it left no record of itself".to_owned())));
        }
        Err(error) => return Ok((None, unknown(format!("its record cannot be opened: {error}")))),
    };
    let lock = file.is_locked().ok();
    let mut buffer = [0; STATE_BYTES + 1];
    let bytes = match file.read_at(&mut buffer, 0) {
        Ok(bytes) => bytes,
        Err(error) => return Ok((None, unknown(format!("its record cannot be read: {error}")))),
    };
    let state = match read_state(bytes) {
        // Somebody else's business.
        Err(_) if lock == Some(true) => return Ok((None, running())),
        state => state?,
    };
    let end = end_of(&state, lock, SystemTime::now(), || EndOfRun::of(&traces(&state)));
    if lock == Some(false) && state.end.is_none() {
        let (bytes, at) = write_end(&end, state.record.map_or(0, |record| record.number));
        // Else it is found out again the next time, by what is known then.
        let _ = folder.open_file(&name, true).and_then(|file| file.write_at(&bytes[..], at));
    }
    Ok((Some(RunState { end: None, ..state }), end))
}

/// A run notes something every minute at least, so one that has for so long not is over, where no lock says so.
const SILENT: Duration = Duration::from_secs(150);

/// How a run ended, if it has. `is_locked`: by another process; `None` where this filesystem has no locks.
fn end_of(state: &RunState, is_locked: Option<bool>, now: SystemTime, find_out: impl FnOnce() -> EndOfRun) -> EndOfRun {
    let said = state.record.and_then(|record| record.said);
    match is_locked {
        Some(true) => return running(),
        None if said.is_none() => {
            let last = state.record.map_or(state.facts.started, |record| record.time);
            // Of a clock that went back nothing is known: then it is taken for one that goes on.
            if now.duration_since(last).is_ok_and(|silent| silent > SILENT) {
                return find_out();
            }
            let why = "it noted something a moment ago; this filesystem has no locks that would tell".to_owned();
            return EndOfRun { how: How::Running, certainty: Certainty::Likely, why };
        }
        _ => {}
    }
    // What a run says of itself comes before what another one made of it.
    match &state.end {
        Some(end) if said.is_none() => end.clone(),
        _ => find_out(),
    }
}

fn unknown(why: String) -> EndOfRun {
    EndOfRun { how: How::Unknown, certainty: Certainty::Sure, why }
}

fn running() -> EndOfRun {
    EndOfRun { how: How::Running, certainty: Certainty::Sure, why: "another process has it locked".to_owned() }
}

/// What is known of a run that is over.
pub(super) fn traces(state: &RunState) -> Traces {
    let RunFacts { boot_id: boot, started_since_boot, pid, oom_file, oom_file_number, .. } = &state.facts;
    let (record, now) = (state.record, boot_id());
    let is_same_boot = (!boot.is_empty() && !now.is_empty()).then(|| *boot == now);
    let said = record.and_then(|record| record.said);
    if said.is_some() || is_same_boot != Some(true) {
        return Traces { said, is_same_boot, last: record.and_then(|record| record.reading), ..Traces::default() };
    }
    let kills_now = OomCounter::open(Path::new(oom_file))
        .filter(|counter| !oom_file.is_empty() && counter.number() == *oom_file_number)
        .and_then(|counter| counter.read());
    let word = |(at, words)| KernelWord { at, words };
    Traces {
        said,
        is_same_boot,
        group_kills: record.and_then(|record| record.oom_kills).zip(kills_now),
        kernel_says: kills_by_kernel(*pid).into_iter().map(word).collect(),
        lived: Lived { begun: *started_since_boot, last: started_since_boot.saturating_add(noted_after(state)) },
        last: record.and_then(|record| record.reading),
    }
}

/// How long after its start a run noted something last. Readings are timed by a clock that never steps, and are older than the
/// record that has them by a poll at most.
fn noted_after(state: &RunState) -> Duration {
    const MOST_POLL: Duration = Duration::from_secs(3600);
    let Some(record) = state.record else { return Duration::ZERO };
    let read = record.reading.map_or(Duration::ZERO, |reading| reading.uptime);
    let noted = record.time.duration_since(state.facts.started).unwrap_or_default();
    noted.clamp(read, read.saturating_add(MOST_POLL))
}

/// Whether the file `name` is a whole snapshot, by its ends alone.
pub(super) fn check_ends(folder: &Folder, name: &str) -> Result<()> {
    let read = |error| Error::io("reading it", error);
    let file = folder.open_file(name, false).map_err(read)?;
    let len = file.len().map_err(read)?;
    let mut head = vec![0; MOST_HEAD_BYTES];
    let (_, head_len) = read_head(file.read_at(&mut head, 0).map_err(read)?)?;
    let mut trailer = [0; TRAILER_BYTES];
    let trailer = file.read_at(&mut trailer, len.saturating_sub(TRAILER_BYTES as u64)).map_err(read)?;
    Trailer::read(trailer, head_len, len).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{RunFacts, RunRecord, write_facts, write_record};
    use std::io::Write;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn run(number: u32) -> RunId {
        RunId { number, random: 7 }
    }

    fn facts(number: u32, program: &str) -> RunFacts {
        RunFacts {
            run: run(number),
            started: START,
            started_since_boot: Duration::from_secs(1000),
            pid: 1,
            boot_id: "of another boot".to_owned(),
            program: program.to_owned(),
            build_id: None,
            version: String::new(),
            oom_file: String::new(),
            oom_file_number: 0,
        }
    }

    fn record(said: Option<How>) -> RunRecord {
        let time = START + Duration::from_secs(500);
        RunRecord { number: 1, time, reading: None, last_snapshot: 0, last_written: 0, oom_kills: None, said }
    }

    /// What run `number` of `program` leaves: its record and `files` snapshots, of which nobody reads more than the names.
    fn leave(folder: &Folder, number: u32, program: &str, said: Option<How>, files: u64) {
        let mut bytes = write_facts(&facts(number, program));
        let mut part = [0; 512];
        let at = write_record(&record(said), &mut part) as usize;
        bytes[at..at + part.len()].copy_from_slice(&part);
        folder.create(&Note::name(run(number))).unwrap().write_all(&bytes[..]).unwrap();
        for id in 1..=files {
            let reason = crate::snapshot::ReasonName::of("requested");
            let name = FileName { millis: u64::from(number) * 1000 + id, run: run(number), id, reason, rss: 1 };
            folder.create(&name.to_string()).unwrap().write_all(b"x").unwrap();
        }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        (below, folder)
    }

    #[test]
    fn the_previous_run_is_of_this_program_and_before_and_over_and_left_something() {
        let (_below, folder) = folder();
        let own = own_program();
        let moved = format!("/opt/version-1/{}", Path::new(&own).file_name().unwrap().display());
        leave(&folder, 1, &own, Some(How::Clean), 2);
        leave(&folder, 2, &moved, None, 1);
        // A start that failed, and another service.
        leave(&folder, 3, &own, Some(How::Clean), 0);
        leave(&folder, 4, "/opt/other", Some(How::Clean), 3);
        // After run 6.
        leave(&folder, 7, &own, Some(How::Clean), 3);
        let previous = |own: u32| {
            let survey = Survey::of(&folder, || Some(run(own))).unwrap();
            survey.previous().map(|run| run.id.number)
        };
        assert_eq!([previous(6), previous(2), previous(1), previous(8)], [Some(2), Some(1), None, Some(7)]);
        let unnamed = Survey::of(&folder, || None).unwrap();
        assert_eq!(unnamed.previous().map(|run| run.id.number), Some(7));
        assert_eq!(unnamed.next_number(), 8);
        let running = |mut survey: Survey, number: u32| {
            survey.runs.iter_mut().filter(|of| of.id.number == number).for_each(|run| run.end = super::running());
            survey.previous().map(|run| run.id.number)
        };
        assert_eq!(running(unnamed, 7), Some(2));
    }

    #[test]
    fn a_run_that_gets_its_name_while_names_are_listed_is_not_ended_by_itself() {
        let (_below, folder) = folder();
        leave(&folder, 1, "/opt/service", None, 1);
        let before = std::fs::read(folder.path().join(Note::name(run(1)))).unwrap();
        // Asked when the names are known: what comes then is not among them.
        let survey = Survey::of(&folder, || {
            leave(&folder, 2, "/opt/service", None, 0);
            Some(run(1))
        });
        let survey = survey.unwrap();
        assert_eq!((survey.runs.len(), survey.own.len()), (0, 1));
        assert_eq!(std::fs::read(folder.path().join(Note::name(run(1)))).unwrap(), before);
    }

    #[test]
    fn a_record_of_a_newer_heapward_is_left_where_it_is() {
        let (_below, folder) = folder();
        for (number, version) in [(1, 9u32), (2, 0)] {
            let mut bytes = write_facts(&facts(number, "/opt/service")).to_vec();
            bytes[14..18].copy_from_slice(&version.to_le_bytes());
            bytes.push(0);
            folder.create(&Note::name(run(number))).unwrap().write_all(&bytes).unwrap();
        }
        let survey = Survey::of(&folder, || None).unwrap();
        let damaged: Vec<&str> = survey.damaged.iter().map(|(file, _)| &**file).collect();
        assert_eq!(damaged, [Note::name(run(2))]);
        let [left] = survey.unreadable.try_into().unwrap();
        assert_eq!(left.file, Note::name(run(1)));
        assert!(left.reason.contains("format version 9, and this heapward reads versions "), "{}", left.reason);
        assert_eq!(survey.runs[0].end.how, How::Unknown);
    }

    #[test]
    fn how_a_run_ended_is_found_out_once_and_its_own_word_comes_first() {
        let (_below, folder) = folder();
        leave(&folder, 1, "/opt/service", None, 0);
        let ended = || Survey::of(&folder, || None).unwrap().runs.remove(0).end;
        assert_eq!(ended().how, How::Reboot);
        let wrong = EndOfRun { how: How::KilledForMemory, certainty: Certainty::Likely, why: "noted".to_owned() };
        let put = |bytes: &[u8], at| folder.open_file(&Note::name(run(1)), true).unwrap().write_at(bytes, at).unwrap();
        let (bytes, at) = write_end(&wrong, 1);
        put(&bytes[..], at);
        assert_eq!(ended(), wrong);
        // One that was taken for ended while it still ran.
        let mut part = [0; 512];
        let at = write_record(&RunRecord { number: 2, ..record(Some(How::Clean)) }, &mut part);
        put(&part, at);
        assert_eq!(ended().how, How::Clean);
    }

    #[test]
    fn where_locks_are_unknown_a_run_that_was_silent_for_long_is_over() {
        let of = |said, end| RunState {
            facts: facts(1, ""),
            record: Some(record(said)),
            end,
            readings: Vec::new(),
            episodes: Vec::new(),
        };
        let seconds = |seconds: u64| START + Duration::from_secs(500 + seconds);
        let over = || unknown("found out".to_owned());
        let how = |state: &RunState, is_locked, now| end_of(state, is_locked, now, over).how;
        let open = of(None, None);
        assert_eq!(how(&open, Some(true), seconds(9000)), How::Running);
        assert_eq!(how(&open, Some(false), seconds(0)), How::Unknown);
        assert_eq!(how(&open, None, seconds(150)), How::Running);
        assert_eq!(how(&open, None, seconds(151)), How::Unknown);
        assert_eq!(how(&open, None, START), How::Running);
        assert_eq!(how(&of(Some(How::Clean), None), None, seconds(0)), How::Unknown);
        assert_eq!(how(&of(None, Some(running())), Some(false), seconds(0)), How::Running);
        assert_eq!(how(&of(Some(How::Clean), Some(running())), Some(false), seconds(0)), How::Unknown);
    }

    #[test]
    fn the_time_of_a_record_is_bounded_by_a_clock_that_never_steps() {
        let at = |uptime: u64, seconds: u64| {
            let reading = crate::profile::Reading {
                uptime: Duration::from_secs(uptime),
                ..crate::profile::Reading::of_rss(0, 0)
            };
            let record =
                RunRecord { reading: Some(reading), time: START + Duration::from_secs(seconds), ..record(None) };
            noted_after(&RunState {
                facts: facts(1, ""),
                record: Some(record),
                end: None,
                readings: Vec::new(),
                episodes: Vec::new(),
            })
            .as_secs()
        };
        // As noted; the clock went back; it went on by years.
        assert_eq!([at(500, 560), at(500, 3), at(500, 1 << 40)], [560, 500, 4100]);
        assert_eq!(
            noted_after(&RunState {
                facts: facts(1, ""),
                record: None,
                end: None,
                readings: Vec::new(),
                episodes: Vec::new()
            }),
            Duration::ZERO
        );
    }
}
