//! Snapshots on disk, of this run and of those before.

mod keeper;
mod note;
mod set_aside;
mod store;
mod survey;
#[cfg(test)]
mod traces_tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

pub(crate) use self::set_aside::SetAside;
pub(crate) use self::survey::{RunOnDisk, Survey, Unreadable};
use super::{DEFAULT_PROFILES_DIR, ProfilesDir, Shared};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::How;
use crate::snapshot::RunId;
use crate::system::Folder;

pub(super) use self::keeper::run;

/// The folder for snapshots, and what is known of it. The watcher never waits for a disk; ARCHITECTURE.md says who else does.
pub(crate) struct Disk {
    /// `None` when nothing is to be written.
    folder: Option<PathBuf>,
    /// Whether the folder is to be there from the start.
    is_named: bool,
    /// As soon as the folder was looked into.
    run: OnceLock<RunId>,
    /// How this run ends, for its thread to note.
    ending: Mutex<Ending>,
    noted: Condvar,
    /// Whether there is somebody who takes snapshots.
    is_watched: AtomicBool,
    /// The ring is the queue: this only says that there is something in it.
    wake: SyncSender<()>,
    figures: Figures,
    /// The last failure, while it lasts.
    error: Mutex<Option<String>>,
}

/// How the run ends.
#[derive(Debug, Default)]
struct Ending {
    /// Whether there is a thread that would note it.
    has_thread: bool,
    said: Option<How>,
    is_noted: bool,
}

/// Whoever takes snapshots, for as long as it does: what it took last is to be written too.
pub(super) struct Watching(Arc<Shared>);

impl Watching {
    pub(super) fn begin(shared: &Arc<Shared>) -> Self {
        shared.disk().is_watched.store(true, Ordering::Release);
        Self(Arc::clone(shared))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let disk = self.0.disk();
        disk.is_watched.store(false, Ordering::Release);
        disk.wake();
    }
}

/// So long whoever ends heapward waits for that to be noted: a file is written to without waiting for the disk, unless the disk
/// hangs, and then the next run says that this one ended without a word.
const NOTE_PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct Figures {
    writes: AtomicU64,
    failures: AtomicU64,
    skipped: AtomicU64,
    removed: AtomicU64,
    set_aside: AtomicU64,
    set_aside_removed: AtomicU64,
    snapshots: AtomicU64,
    bytes: AtomicU64,
    last_write_millis: AtomicU64,
    is_failing: AtomicBool,
}

/// What is told of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskFigures {
    /// Snapshots written.
    pub(crate) writes: u64,
    /// Writes that failed.
    pub(crate) failures: u64,
    /// Snapshots that the ring gave up before they could be written, or still had when heapward ended.
    pub(crate) skipped: u64,
    /// Files removed to keep within the bounds.
    pub(crate) removed: u64,
    /// Files set aside because they are damaged.
    pub(crate) set_aside: u64,
    /// Of these, files removed to keep within the bounds for them.
    pub(crate) set_aside_removed: u64,
    /// Snapshots in the folder, those of other runs that go on excepted.
    pub(crate) snapshots: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    pub(crate) last_write: Option<SystemTime>,
    /// Whether the last write failed.
    pub(crate) is_failing: bool,
}

impl Disk {
    /// For that folder; the second is for its thread, where there is to be one.
    pub(super) fn new(folder: &ProfilesDir) -> (Self, Option<Receiver<()>>) {
        let (path, is_named) = match folder {
            ProfilesDir::Default => (Some(DEFAULT_PROFILES_DIR.into()), false),
            ProfilesDir::Named(path) => (Some(path.clone()), true),
            ProfilesDir::Off => (None, false),
        };
        // Now: a service may go to another folder later.
        let folder = path.map(|path: PathBuf| std::path::absolute(&path).unwrap_or(path));
        let (wake, wakes) = sync_channel(1);
        let wakes = folder.is_some().then_some(wakes);
        let disk = Self {
            folder,
            is_named,
            run: OnceLock::new(),
            ending: Mutex::default(),
            noted: Condvar::new(),
            is_watched: AtomicBool::new(false),
            wake,
            figures: Figures::default(),
            error: Mutex::new(None),
        };
        (disk, wakes)
    }

    /// Says that there is something to do. Never waits.
    pub(super) fn wake(&self) {
        // Full: it is awake already. Gone: nothing is written.
        let _ = self.wake.try_send(());
    }

    /// The folder; `None` where nothing is written.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    /// What this run is called there; `None` before the folder was looked into.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.run.get().copied()
    }

    /// Why nothing can be written at the moment.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Has it noted that this run ends on purpose. Touches no disk, and waits for one no longer than [`NOTE_PATIENCE`].
    pub(super) fn end(&self) {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.said = Some(if std::thread::panicking() { How::Panic } else { How::Clean });
        self.wake();
        let is_open = |ending: &mut Ending| ending.has_thread && !ending.is_noted;
        // Poisoned by nobody: nothing panics under it.
        drop(self.noted.wait_timeout_while(ending, NOTE_PATIENCE, is_open));
    }

    /// Whether there may be more to write than the ring has now.
    fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    /// For the thread that notes it: from now on, or no longer.
    fn set_has_thread(&self, has_thread: bool) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).has_thread = has_thread;
        self.noted.notify_all();
    }

    /// How the run ends, if it was said.
    fn said(&self) -> Option<How> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).said
    }

    /// It was noted, or cannot be.
    fn set_noted(&self) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).is_noted = true;
        self.noted.notify_all();
    }

    pub(crate) fn figures(&self) -> DiskFigures {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let figures = &self.figures;
        let millis = get(&figures.last_write_millis);
        DiskFigures {
            writes: get(&figures.writes),
            failures: get(&figures.failures),
            skipped: get(&figures.skipped),
            removed: get(&figures.removed),
            set_aside: get(&figures.set_aside),
            set_aside_removed: get(&figures.set_aside_removed),
            snapshots: get(&figures.snapshots),
            bytes: get(&figures.bytes),
            last_write: (millis > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
            is_failing: figures.is_failing.load(Ordering::Relaxed),
        }
    }

    /// Opens the folder, for whoever reads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where there is none.
    pub(crate) fn open(&self) -> Result<Folder> {
        let Some(path) = &self.folder else {
            let message = "no snapshots are kept on disk: profiles_dir (HEAPWARD_PROFILES_DIR) is off";
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        Folder::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!("there is no folder {} yet: nothing was written", path.display());
                Error::new(ErrorKind::NotFound, message)
            }
            _ => Error::io(format!("opening the folder {}", path.display()), error),
        })
    }
}
