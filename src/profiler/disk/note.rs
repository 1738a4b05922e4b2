//! What this run notes of itself for the next one.

use std::io;

use crate::snapshot::{RunFacts, RunId, RunRecord, write_facts, write_record};
use crate::system::{Folder, FolderFile};

/// The state file of this run, which it holds a lock of for as long as it lives.
#[derive(Debug)]
pub(super) struct Note {
    file: FolderFile,
    last: RunRecord,
}

impl Note {
    /// The name of a run's state file.
    pub(super) fn name(run: RunId) -> String {
        format!("{run}.run")
    }

    /// The run that a name belongs to, if it is a state file's.
    pub(super) fn parse(name: &str) -> Option<RunId> {
        name.strip_suffix(".run")?.parse().ok()
    }

    /// Makes the file of a run that begins, or goes on in a new folder: whole and locked before anybody finds it.
    pub(super) fn make(folder: &Folder, facts: &RunFacts, last: Option<RunRecord>) -> io::Result<Self> {
        let name = Self::name(facts.run);
        let temporary = format!(".{name}.tmp");
        let made = folder.create(&temporary).and_then(|file| {
            file.lock();
            file.write_at(&write_facts(facts)[..], 0)?;
            file.sync()?;
            folder.rename(&temporary, &name)?;
            folder.sync()?;
            Ok(file)
        });
        let file = made.inspect_err(|_| {
            // What cannot be removed is found by the next run.
            let _ = folder.remove(&temporary);
        })?;
        let first = RunRecord {
            number: 0,
            time: facts.started,
            reading: None,
            last_snapshot: 0,
            last_written: 0,
            oom_kills: None,
            said: None,
        };
        Ok(Self { file, last: last.unwrap_or(first) })
    }

    /// Notes what `change` makes of the last record; allocates nothing. It is not put on the disk: what a process wrote
    /// outlives it, and a machine that loses its power has other worries.
    pub(super) fn write(&mut self, change: impl FnOnce(&mut RunRecord)) -> io::Result<()> {
        change(&mut self.last);
        self.last.number += 1;
        let mut buffer = [0; 512];
        let at = write_record(&self.last, &mut buffer);
        // Again: whoever in this process opened and closed the file, as one who copies the folder, took the lock off it.
        self.file.lock();
        self.file.write_at(&buffer, at)
    }

    pub(super) fn last(&self) -> RunRecord {
        self.last
    }
}
