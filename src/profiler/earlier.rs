//! Snapshots of earlier runs, from their files.

use std::sync::Arc;

use super::disk::{RunOnDisk, Survey};
use super::moment::Moment;
use super::relocation::{born_later, relocate, renumber};
use super::{Heap, Shared, Stacks};
use crate::error::{Error, ErrorKind, Result};
use crate::profile::SampleInterval;
use crate::snapshot::{Head, RunSelector, Selector, Snapshot, Stored, decode, read_head};
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

impl Shared {
    /// What is in the folder now, for the renderer's thread.
    ///
    /// # Errors
    ///
    /// Where there is no folder, or it cannot be read.
    pub(crate) fn survey(&self) -> Result<(Folder, Survey)> {
        let folder = self.disk().open()?;
        let survey = Survey::of(&folder, || self.disk().run());
        let survey =
            survey.map_err(|error| Error::io(format!("reading the folder {}", folder.path().display()), error))?;
        Ok((folder, survey))
    }

    /// The run that `selector` names, and the snapshots of it that can be read, oldest first. A file that cannot be is set aside.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such run.
    pub(crate) fn earlier_run(&self, selector: RunSelector) -> Result<(RunOnDisk, Vec<EarlierSnapshot>)> {
        let (folder, survey) = self.survey()?;
        let run = self.find_run(survey, selector)?;
        let mut snapshots = Vec::with_capacity(run.files.len());
        for file in &run.files {
            let name = file.name.to_string();
            let mut head = vec![0; HEAD_BYTES];
            let read = folder.open_file(&name, false).and_then(|file| Ok(file.read_at(&mut head, 0)?.len()));
            // Gone since it was listed.
            let Ok(len) = read else { continue };
            match read_head(&head[..len]) {
                Ok((head, _)) => snapshots.push(EarlierSnapshot { head, file: name, bytes: file.bytes }),
                Err(error) => self.disk().set_aside(&folder, &name, &error),
            }
        }
        Ok((run, snapshots))
    }

    fn find_run(&self, survey: Survey, selector: RunSelector) -> Result<RunOnDisk> {
        let own = self.disk().run();
        let id = match selector {
            RunSelector::Previous => survey.previous().map(|run| run.id),
            RunSelector::Id(id) if Some(id) == own => {
                return Err(Error::config(format!("run {id} is this one: leave the parameter out")));
            }
            RunSelector::Id(id) => Some(id),
        };
        let known: Vec<String> = survey.runs.iter().map(|run| run.id.to_string()).collect();
        survey.runs.into_iter().find(|run| Some(run.id) == id).ok_or_else(|| {
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
    pub(crate) fn earlier_snapshot(&self, run: RunSelector, selector: Selector) -> Result<EarlierSnapshot> {
        let (folder, name, bytes) = self.find_file(run, selector)?;
        let mut buffer = vec![0; HEAD_BYTES];
        let file = folder.open_file(&name, false);
        let head = file.and_then(|file| Ok(file.read_at(&mut buffer, 0)?.len()));
        let len = head.map_err(|error| Error::io(format!("reading {name}"), error))?;
        let (head, _) = read_head(&buffer[..len]).map_err(|error| self.damaged(&folder, &name, &error))?;
        Ok(EarlierSnapshot { head, file: name, bytes })
    }

    fn damaged(&self, folder: &Folder, name: &str, error: &Error) -> Error {
        self.disk().set_aside(folder, name, error);
        Error::malformed(format!("{name} is damaged, and was set aside: {error}"))
    }

    /// The name and the size of the file that `selector` names.
    fn find_file(&self, run: RunSelector, selector: Selector) -> Result<(Folder, String, u64)> {
        let (folder, survey) = self.survey()?;
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
        Ok((folder, file.name.to_string(), file.bytes))
    }

    /// A snapshot of an earlier run, its addresses those of this one.
    fn stored(&self, run: RunSelector, selector: Selector) -> Result<Stored> {
        let (folder, name, _) = self.find_file(run, selector)?;
        let bytes = folder.open_file(&name, false).and_then(|file| file.read_all(MOST_BYTES));
        let bytes = bytes.map_err(|error| Error::io(format!("reading {name}"), error))?;
        let mut stored = decode(&bytes).map_err(|error| self.damaged(&folder, &name, &error))?;
        relocate(&mut stored, &loaded_mappings());
        Ok(stored)
    }

    /// The heap that `heap` names, with where its stacks are, for the renderer's thread.
    pub(super) fn moment_and_stacks(&self, heap: Heap) -> Result<(Moment, Stacks)> {
        match heap {
            Heap::Earlier(run, selector) => {
                let stored = self.stored(run, selector)?;
                let stacks = stacks_of(&stored)?;
                Ok((Moment::Stored(Box::new(stored)), stacks))
            }
            heap => Ok((self.moment(heap)?, Stacks::collected(self.collector))),
        }
    }

    /// An error where two heaps cannot be compared: another build's stacks are others.
    pub(crate) fn check_comparable(&self, base: Heap, later: Heap) -> Result<()> {
        match base {
            Heap::Earlier(..) => self.moments_and_stacks(base, later).map(drop),
            _ => Ok(()),
        }
    }

    /// The heaps `base` and `later`, with stacks that have the same numbers in both.
    pub(super) fn moments_and_stacks(&self, base: Heap, later: Heap) -> Result<(Moment, Moment, Stacks)> {
        let Heap::Earlier(base_run, base_selector) = base else {
            if matches!(later, Heap::Earlier(..)) {
                return Err(Error::config("a snapshot of this run is no base for one of an earlier run"));
            }
            let (base, later) = self.moments(base, later)?;
            return Ok((base, later, Stacks::collected(self.collector)));
        };
        let mut base = self.stored(base_run, base_selector)?;
        let (later, stacks) = self.moment_and_stacks(later)?;
        if later.run() == Some(base.head.text.run) {
            // Of one run: the numbers are the same, and what is alive at both is known.
            let Moment::Stored(later) = later else { return Err(Error::config("a moment without a run")) };
            let (both, stacks) = (base.stacks.merged(&later.stacks), stacks_of(&later)?);
            let interval = stacks.interval();
            let tells_apart = later.told_apart.contains(&base.head.epoch) || later.head.epoch == base.head.epoch;
            let is_backwards = base.told_apart.contains(&later.head.epoch);
            let has_birthdays = stacks.has_birthdays() && (tells_apart || is_backwards);
            let (mut base, mut later) = (Moment::Stored(Box::new(base)), Moment::Stored(later));
            if !has_birthdays && stacks.has_birthdays() {
                // The later one no longer told apart what was born before and after the base.
                base.forget_births();
                later = later.after_another_run();
            }
            return Ok((base, later, Stacks::stored(Arc::new(both), interval, has_birthdays)));
        }
        self.check_build(&base, &later)?;
        let later = later.after_another_run();
        let interval = interval_of(&base)?;
        let added = renumber(&mut base, stacks.finder(), stacks.end());
        Ok((Moment::Stored(Box::new(base)), later, stacks.and(added, interval)))
    }

    /// Two builds of a program have nothing in common that could be compared.
    fn check_build(&self, base: &Stored, later: &Moment) -> Result<()> {
        let program = match later {
            Moment::Stored(stored) => stored.head.text.build_id.clone(),
            _ => own_build_id(),
        };
        let text = &base.head.text;
        if text.build_id.is_some() && text.build_id == program {
            return Ok(());
        }
        let show = |id: &Option<crate::profile::BuildId>| id.as_ref().map_or("none".to_owned(), ToString::to_string);
        Err(Error::config(format!(
            "the program of run {} is another build, so its stacks cannot be compared: build id {} there, {} here; each can be \
             looked at alone",
            text.run,
            show(&text.build_id),
            show(&program)
        )))
    }
}

/// The build id of this program.
fn own_build_id() -> Option<crate::profile::BuildId> {
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

fn stacks_of(stored: &Stored) -> Result<Stacks> {
    Ok(Stacks::stored(Arc::new(stored.stacks.clone()), interval_of(stored)?, stored.head.text.has_birthdays))
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
