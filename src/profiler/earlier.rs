//! Snapshots of earlier runs, from their files.

use std::io;
use std::sync::Arc;

use super::disk::{RunOnDisk, Survey, Unreadable};
use super::moment::Moment;
use super::reader::{Reader, Turn};
use super::relocation::{born_later, relocate, renumber};
use super::{Asked, Disk, Heap, Shared, Stacks, threads};
use crate::collect::Collector;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::earlier_room;
use crate::profile::{BuildId, SampleInterval};
use crate::snapshot::{Head, HeadText, RunSelector, Selector, Snapshot, Stored, decode_within, read_head};
use crate::system::{Folder, loaded_mappings};

/// No file is read that is larger.
const MOST_BYTES: u64 = 512 << 20;

/// What is read of a file for a list.
const HEAD_BYTES: usize = crate::snapshot::MOST_HEAD_BYTES;

/// A snapshot of an earlier run, as a list has it.
pub(crate) struct EarlierSnapshot {
    pub(crate) head: Head,
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

/// A run, and those snapshots of it that can be read, oldest first.
pub(crate) struct EarlierRun {
    pub(crate) run: RunOnDisk,
    pub(crate) snapshots: Vec<EarlierSnapshot>,
    /// Those that a newer heapward wrote, and those that the disk does not give.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// A snapshot of an earlier run that was read, its addresses those of this one.
#[derive(Clone, Debug)]
pub(crate) struct EarlierHeap(Box<Stored>);

/// Those that somebody asked for. Others are read when the turn is given back: when nothing is left of these.
pub(crate) struct EarlierHeaps {
    pub(crate) heaps: Vec<EarlierHeap>,
    pub(crate) turn: Turn,
}

impl EarlierHeap {
    pub(crate) fn head(&self) -> &Head {
        &self.0.head
    }
}

/// What earlier runs left, for the thread that reads it and no other: a folder may hang.
pub(crate) struct EarlierRuns<'s> {
    shared: &'s Shared,
}

impl Shared {
    /// Has `work` done by the thread that reads.
    ///
    /// # Errors
    ///
    /// When it has too much to do already, or heapward ends.
    pub(crate) fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&EarlierRuns<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Asked<T>> {
        let shared = Arc::clone(self);
        self.asked(self.reader_of_all()?.ask(move || shared.outlive_reading(|| work(&EarlierRuns { shared: &shared }))))
    }

    /// Has it read the snapshots that `named` are.
    ///
    /// # Errors
    ///
    /// As [`Shared::read`].
    pub(crate) fn read_heaps(self: &Arc<Self>, named: Vec<(RunSelector, Selector)>) -> Result<Asked<EarlierHeaps>> {
        let shared = Arc::clone(self);
        self.asked(self.reader_of_all()?.ask_in_turn(move |turn| {
            let heaps = shared.outlive_reading(|| EarlierRuns { shared: &shared }.heaps(&named))?;
            Ok(EarlierHeaps { heaps, turn })
        }))
    }

    fn reader_of_all(&self) -> Result<&Arc<Reader>> {
        if self.collector.is_quiet() { Err(Collector::forked()) } else { Ok(&self.reader) }
    }

    fn outlive_reading<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let read = threads::outlive("reading what earlier runs left", work, || self.status().panics += 1);
        read.unwrap_or_else(|| Err(Error::new(ErrorKind::Busy, "reading it failed in heapward itself")))
    }

    fn asked<T>(&self, asked: Result<T>) -> Result<T> {
        asked.inspect_err(|error| {
            if error.kind() == ErrorKind::Busy {
                self.count_refused();
            }
        })
    }
}

impl EarlierRuns<'_> {
    fn disk(&self) -> &Disk {
        self.shared.disk()
    }

    /// What is in the folder now.
    ///
    /// # Errors
    ///
    /// Where there is no folder, or it cannot be read.
    pub(crate) fn survey(&self) -> Result<Survey> {
        Ok(self.open()?.1)
    }

    fn open(&self) -> Result<(Folder, Survey)> {
        let folder = self.disk().open()?;
        // Where the folder hung until another profiler of this process began, that one's run would be taken for an ended one: a
        // process does not see its own locks.
        if self.shared.is_stopped() {
            return Err(super::stopped());
        }
        let survey = Survey::of(&folder, || self.disk().run());
        let survey =
            survey.map_err(|error| Error::io(format!("reading the folder {}", folder.path().display()), error))?;
        Ok((folder, survey))
    }

    /// The run that `selector` names. A damaged file of it is set aside.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such run.
    pub(crate) fn run(&self, selector: RunSelector) -> Result<EarlierRun> {
        let (folder, mut survey) = self.open()?;
        let id = self.find_run(&survey, selector)?.id;
        survey.runs.retain(|run| run.id == id);
        let Some(run) = survey.runs.pop() else { return Err(Error::new(ErrorKind::NotFound, "no such run")) };
        let (mut snapshots, mut unreadable) = (Vec::with_capacity(run.files.len()), Vec::new());
        for file in &run.files {
            let name = file.name.to_string();
            let mut head = vec![0; HEAD_BYTES];
            let read = folder.open_file(&name, false).and_then(|file| Ok(file.read_at(&mut head, 0)?.len()));
            let len = match read {
                Ok(len) => len,
                // Since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    unreadable.push(Unreadable { file: name, reason: error.to_string() });
                    continue;
                }
            };
            match read_head(&head[..len]) {
                Ok((head, _)) => snapshots.push(EarlierSnapshot { head, file: name, bytes: file.bytes }),
                Err(error) if error.kind() == ErrorKind::NewerFormat => {
                    unreadable.push(Unreadable { file: name, reason: error.to_string() });
                }
                Err(error) => self.disk().set_aside(&folder, &name, &error),
            }
        }
        Ok(EarlierRun { run, snapshots, unreadable })
    }

    fn find_run<'r>(&self, survey: &'r Survey, selector: RunSelector) -> Result<&'r RunOnDisk> {
        let own = self.disk().run();
        let found = match selector {
            RunSelector::Previous => survey.previous(),
            RunSelector::Id(id) if Some(id) == own => {
                return Err(Error::config(format!("run {id} is this one: leave the parameter out")));
            }
            RunSelector::Id(id) => survey.runs.iter().find(|run| run.id == id),
        };
        found.ok_or_else(|| {
            let known: Vec<String> = survey.runs.iter().map(|run| run.id.to_string()).collect();
            let there = match known.as_slice() {
                [] => "no earlier run left anything here".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            Error::new(ErrorKind::NotFound, format!("no run `{selector}`: {there}"))
        })
    }

    /// One snapshot of an earlier run, by what its file's head says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such run or snapshot.
    pub(crate) fn snapshot(&self, run: RunSelector, selector: Selector) -> Result<EarlierSnapshot> {
        let (folder, survey) = self.open()?;
        let (name, bytes) = self.find_file(&survey, run, selector)?;
        let mut buffer = vec![0; HEAD_BYTES];
        let file = folder.open_file(&name, false);
        let head = file.and_then(|file| Ok(file.read_at(&mut buffer, 0)?.len()));
        let len = head.map_err(|error| unread(&name, error))?;
        let (head, _) = read_head(&buffer[..len]).map_err(|error| self.unreadable(&folder, &name, error))?;
        Ok(EarlierSnapshot { head, file: name, bytes })
    }

    fn unreadable(&self, folder: &Folder, name: &str, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Malformed => {}
            ErrorKind::NewerFormat => {
                return Error::new(error.kind(), format!("{name} is a newer heapward's: {error}"));
            }
            _ => return error,
        }
        self.disk().set_aside(folder, name, &error);
        Error::malformed(format!("{name} is damaged, and was set aside: {error}"))
    }

    /// The name and the size of the file that `selector` names.
    fn find_file(&self, survey: &Survey, run: RunSelector, selector: Selector) -> Result<(String, u64)> {
        let run = self.find_run(survey, run)?;
        let found = match selector {
            Selector::Id(id) => run.files.iter().find(|file| file.name.id == id),
            Selector::Latest => run.files.last(),
            Selector::Baseline => run.files.first(),
            // The first of several.
            Selector::Peak => run.files.iter().rev().max_by_key(|file| file.name.rss),
        };
        let file = found.ok_or_else(|| {
            let ids: Vec<String> = run.files.iter().map(|file| file.name.id.to_string()).collect();
            let there = match ids.as_slice() {
                [] => "it left none".to_owned(),
                ids => format!(
                    "there are {}, and the names latest, baseline (the first that is kept) and peak",
                    ids.join(", ")
                ),
            };
            Error::new(ErrorKind::NotFound, format!("no snapshot `{selector}` of run {}: {there}", run.id))
        })?;
        Ok((file.name.to_string(), file.bytes))
    }

    /// The snapshots that `named` are, in that order, where there is room for them together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such run or snapshot, [`ErrorKind::Busy`] when there is too little memory left.
    fn heaps(&self, named: &[(RunSelector, Selector)]) -> Result<Vec<EarlierHeap>> {
        let (folder, survey) = self.open()?;
        let find = |&(run, selector): &(RunSelector, Selector)| self.find_file(&survey, run, selector);
        let files = named.iter().map(find).collect::<Result<Vec<_>>>()?;
        let bytes = files.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let room = earlier_room(&self.shared.last_cgroup(), bytes)?;
        // For each as much, beside the files themselves.
        let room = room.map(|room| room.saturating_sub(bytes) / files.len().max(1) as u64);
        files.iter().map(|(name, _)| self.heap(&folder, name, room)).collect()
    }

    fn heap(&self, folder: &Folder, name: &str, room: Option<u64>) -> Result<EarlierHeap> {
        let bytes = folder.open_file(name, false).and_then(|file| file.read_all(MOST_BYTES));
        let bytes = bytes.map_err(|error| unread(name, error))?;
        let mut stored = decode_within(&bytes, room).map_err(|error| self.unreadable(folder, name, error))?;
        relocate(&mut stored, &loaded_mappings());
        Ok(EarlierHeap(Box::new(stored)))
    }
}

impl Shared {
    /// The heap that `heap` names, with where its stacks are, for the renderer's thread.
    pub(super) fn moment_and_stacks(&self, heap: Heap) -> Result<(Moment, Stacks)> {
        match heap {
            Heap::Earlier(EarlierHeap(mut stored)) => {
                let stacks = stacks_of(&mut stored)?;
                Ok((Moment::Stored(stored), stacks))
            }
            heap => Ok((self.moment(heap)?, Stacks::collected(self.collector))),
        }
    }

    /// An error where two heaps cannot be compared: another build's stacks are others.
    pub(crate) fn check_comparable(&self, base: &Heap, later: &Heap) -> Result<()> {
        match (base, later) {
            (Heap::Earlier(base), Heap::Earlier(later)) => {
                let (base, later) = (&base.head().text, &later.head().text);
                if base.run == later.run { Ok(()) } else { check_build(base, later.build_id.as_ref()) }
            }
            (Heap::Earlier(base), _) => check_build(&base.head().text, own_build_id().as_ref()),
            (_, Heap::Earlier(_)) => Err(Error::config("a snapshot of this run is no base for one of an earlier run")),
            _ => Ok(()),
        }
    }

    /// The heaps `base` and `later`, with stacks that have the same numbers in both.
    pub(super) fn moments_and_stacks(&self, base: Heap, later: Heap) -> Result<(Moment, Moment, Stacks)> {
        self.check_comparable(&base, &later)?;
        let EarlierHeap(mut base) = match base {
            Heap::Earlier(base) => base,
            base => {
                let (base, later) = self.moments(base, later)?;
                return Ok((base, later, Stacks::collected(self.collector)));
            }
        };
        let later = match later {
            Heap::Earlier(EarlierHeap(later)) if later.head.text.run == base.head.text.run => {
                return of_one_run(base, later);
            }
            later => later,
        };
        let (later, stacks) = self.moment_and_stacks(later)?;
        let later = later.after_another_run();
        let interval = interval_of(&base)?;
        let added = renumber(&mut base, stacks.finder(), stacks.end());
        Ok((Moment::Stored(base), later, stacks.and(added, interval)))
    }
}

/// Retention may have removed it since it was listed.
fn unread(name: &str, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return Error::new(ErrorKind::NotFound, format!("{name} is gone: ask for the list again"));
    }
    Error::io(format!("reading {name}"), error)
}

/// Of one run the numbers of stacks are the same, and what is alive at both moments is known.
fn of_one_run(mut base: Box<Stored>, mut later: Box<Stored>) -> Result<(Moment, Moment, Stacks)> {
    let interval = interval_of(&later)?;
    let both = std::mem::take(&mut base.stacks).merged(std::mem::take(&mut later.stacks));
    let is_told = later.head.text.has_birthdays;
    let tells_apart = later.told_apart.contains(&base.head.epoch) || later.head.epoch == base.head.epoch;
    let is_backwards = base.told_apart.contains(&later.head.epoch);
    let has_birthdays = is_told && (tells_apart || is_backwards);
    let (mut base, mut later) = (Moment::Stored(base), Moment::Stored(later));
    if !has_birthdays && is_told {
        // The later one no longer told apart what was born before and after the base.
        base.forget_births();
        later = later.after_another_run();
    }
    Ok((base, later, Stacks::stored(Arc::new(both), interval, has_birthdays)))
}

/// Two builds of a program have nothing in common that could be compared.
fn check_build(base: &HeadText, later: Option<&BuildId>) -> Result<()> {
    if base.build_id.is_some() && base.build_id.as_ref() == later {
        return Ok(());
    }
    let show = |id: Option<&BuildId>| id.map_or("none".to_owned(), ToString::to_string);
    Err(Error::config(format!(
        "the program of run {} is another build, so its stacks cannot be compared: build id {} there, {} here; each can be \
         looked at alone",
        base.run,
        show(base.build_id.as_ref()),
        show(later)
    )))
}

/// The build id of this program.
fn own_build_id() -> Option<BuildId> {
    let program = std::fs::read_link("/proc/self/exe").ok()?;
    let program = program.to_string_lossy();
    loaded_mappings().into_iter().find(|mapping| mapping.path == program)?.build_id
}

fn interval_of(stored: &Stored) -> Result<SampleInterval> {
    let bytes = stored.head.text.sample_interval;
    SampleInterval::from_bytes(bytes).ok_or_else(|| {
        Error::malformed(format!("a sample interval of {bytes} bytes in a snapshot of {}", stored.head.text))
    })
}

/// Takes them out of it.
fn stacks_of(stored: &mut Stored) -> Result<Stacks> {
    let stacks = Arc::new(std::mem::take(&mut stored.stacks));
    Ok(Stacks::stored(stacks, interval_of(stored)?, stored.head.text.has_birthdays))
}

impl Moment {
    /// The same in a comparison with a moment of a run before, of which nothing is alive any more: all was born after it.
    fn after_another_run(self) -> Self {
        match self {
            Self::Copied(mut copied) => {
                copied.born_later();
                Self::Copied(copied)
            }
            Self::Kept(snapshot) => {
                let mut snapshot = Snapshot::clone(&snapshot);
                (snapshot.cohorts, snapshot.epoch) = (born_later(&snapshot.cohorts), snapshot.epoch.saturating_add(1));
                Self::Kept(Arc::new(snapshot))
            }
            Self::Stored(mut stored) => {
                (stored.cohorts, stored.head.epoch) =
                    (born_later(&stored.cohorts), stored.head.epoch.saturating_add(1));
                Self::Stored(stored)
            }
        }
    }

    /// As if it were of a run of its own: all that is alive in it is gone at the other moment.
    fn forget_births(&mut self) {
        if let Self::Stored(stored) = self {
            stored.head.epoch = 0;
        }
    }
}
