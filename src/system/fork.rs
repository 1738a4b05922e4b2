//! Telling a forked child from the process that was forked.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use super::mmap::MmapSlice;

/// True in a forked child, once the handler ran there.
static FORKED: AtomicBool = AtomicBool::new(false);

/// The descriptor that a forked child must close, or −1.
static CLOSED_IN_CHILD: AtomicI32 = AtomicI32::new(-1);

/// Knows whether this is the process that made it. A child knows from its first instruction on: the kernel clears a
/// page of its memory. A fork handler alone would be too late for the handlers that others registered before, which
/// may allocate. Where the kernel is older than that (4.14), the handler is all there is.
pub(crate) struct ForkMark {
    word: MmapSlice<AtomicU64>,
}

impl ForkMark {
    /// Marks this process.
    pub(crate) fn new() -> io::Result<Self> {
        on_fork_in_child(enter_child)?;
        let word = MmapSlice::<AtomicU64>::new(1)?;
        // Refused by old kernels: then the handler tells.
        let _ = word.wipe_on_fork();
        word.first().inspect(|word| word.store(1, Ordering::Relaxed));
        Ok(Self { word })
    }

    /// Whether this is a child of the process that was marked.
    #[inline]
    pub(crate) fn is_child(&self) -> bool {
        self.word.first().is_none_or(|word| word.load(Ordering::Relaxed) == 0) || FORKED.load(Ordering::Relaxed)
    }
}

/// Has `fd` closed in every forked child from now on; `None` for no descriptor. There is one at most.
///
/// A child that does not `exec` would keep a listener's port, and take connections that nobody ever answers. The
/// thread that owns the descriptor does not exist there, so nobody else closes it.
pub(crate) fn close_in_child(fd: Option<RawFd>) {
    CLOSED_IN_CHILD.store(fd.unwrap_or(-1), Ordering::Relaxed);
}

/// Runs in every forked child, on its only thread, before `fork` returns there. May do only what a signal handler may
/// do: the other threads are gone, with any lock that they held.
extern "C" fn enter_child() {
    FORKED.store(true, Ordering::Relaxed);
    let fd = CLOSED_IN_CHILD.swap(-1, Ordering::Relaxed);
    if fd >= 0 {
        // SAFETY: the descriptor belongs to a thread of the parent that does not exist here, so nothing uses it; and
        // `close` may be called in a signal handler.
        unsafe { libc::close(fd) };
    }
}

fn on_fork_in_child(child: extern "C" fn()) -> io::Result<()> {
    let child: unsafe extern "C" fn() = child;
    // SAFETY: `child` is a plain function that lives as long as the program; null asks for no handler.
    match unsafe { libc::pthread_atfork(None, None, Some(child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
