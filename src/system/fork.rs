//! What happens in a forked child.

use std::io;

/// Calls `child` in every forked child, on its only thread, before `fork` returns there.
///
/// `child` may do only what a signal handler may do: the other threads are gone, with any lock that they held.
pub(crate) fn on_fork_in_child(child: extern "C" fn()) -> io::Result<()> {
    let child: unsafe extern "C" fn() = child;
    // SAFETY: `child` is a plain function that lives as long as the program; null asks for no handler.
    match unsafe { libc::pthread_atfork(None, None, Some(child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
