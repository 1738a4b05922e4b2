//! What is in the folder: runs, how they ended, and their snapshots.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::note::Note;
use super::set_aside::{self, SetAside};
use crate::error::{Error, Result};
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
    /// This run's snapshots, oldest first.
    pub(crate) own: Vec<FileOnDisk>,
    /// Temporary files that nobody writes any more.
    pub(super) temporary: Vec<String>,
    /// State files that cannot be read.
    pub(super) damaged: Vec<(String, Error)>,
    pub(crate) set_aside: Vec<SetAside>,
}

/// A run that left something.
#[derive(Debug)]
pub(crate) struct RunOnDisk {
    pub(crate) id: RunId,
    /// `None` where it left none that can be read.
    pub(crate) state: Option<RunState>,
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
    /// Looks through `folder`. `own` is this run, once it has a name.
    pub(crate) fn of(folder: &Folder, own: Option<RunId>) -> io::Result<Self> {
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
        let mut this = Self { set_aside: set_aside::list(folder), ..Self::default() };
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
                    this.damaged.push((Note::name(id), error));
                    (None, EndOfRun { how: How::Unknown, certainty: Certainty::Sure, why })
                }
            };
            this.runs.push(RunOnDisk { id, state, end, files });
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

    /// The last run that is over, if any is.
    pub(crate) fn previous(&self) -> Option<&RunOnDisk> {
        self.runs.iter().rev().find(|run| !run.is_running())
    }
}

/// `.12-9f3c0a1b.tmp` and `.12-9f3c0a1b.run.tmp`.
fn temporary_of(name: &str) -> Option<RunId> {
    let run = name.strip_prefix('.')?.strip_suffix(".tmp")?;
    run.strip_suffix(".run").unwrap_or(run).parse().ok()
}

/// What the run `id` noted, and how it ended, which is found out once and then noted.
fn read_run(folder: &Folder, id: RunId) -> Result<(Option<RunState>, EndOfRun)> {
    let name = Note::name(id);
    let unknown = |why: String| EndOfRun { how: How::Unknown, certainty: Certainty::Sure, why };
    // To be written to, if that is allowed: a lock takes it.
    let (file, is_written) = match folder.open_file(&name, true) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((None, unknown("it left no record of itself".to_owned())));
        }
        Err(_) => match folder.open_file(&name, false) {
            Ok(file) => (file, false),
            Err(error) => return Ok((None, unknown(format!("its record cannot be opened: {error}")))),
        },
    };
    let is_over = is_written && file.lock();
    let mut buffer = [0; STATE_BYTES + 1];
    let bytes = match file.read_at(&mut buffer, 0) {
        Ok(bytes) => bytes,
        Err(error) => return Ok((None, unknown(format!("its record cannot be read: {error}")))),
    };
    let mut state = match read_state(bytes) {
        // Somebody else's business.
        Err(_) if is_written && !is_over => return Ok((None, running())),
        state => state?,
    };
    if is_written && !is_over {
        return Ok((Some(state), running()));
    }
    let end = match state.end.take() {
        Some(end) => end,
        None => {
            let end = EndOfRun::of(&traces(&state));
            let (bytes, at) = write_end(&end);
            // Else it is found out again the next time, by what is known then.
            let _ = file.write_at(&bytes[..], at);
            end
        }
    };
    Ok((Some(state), end))
}

fn running() -> EndOfRun {
    EndOfRun { how: How::Running, certainty: Certainty::Sure, why: "another process has it locked".to_owned() }
}

/// What is known of a run that is over.
fn traces(state: &RunState) -> Traces {
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
