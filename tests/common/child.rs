//! Forked children that cannot hang for ever.

use std::io;

/// Seconds until a child counts as hung.
const PATIENCE: u32 = 20;

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Child {
    Exited(i32),
    /// It hung for [`PATIENCE`] seconds.
    Hung,
    Killed(i32),
}

/// Forks; the child runs `work`, exits with what it returns, and runs nothing else. Waits until the child ends.
pub fn fork(work: impl FnOnce() -> i32) -> Child {
    // SAFETY: the child uses nothing but the allocator, whose own fork handlers make that good, and what `work`
    // tries on purpose; it leaves by _exit, so it runs no destructor and no handler of this process.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            // A hung child ends by SIGALRM, whatever it waits for.
            // SAFETY: both calls are allowed in a forked child.
            unsafe {
                libc::alarm(PATIENCE);
                libc::_exit(work())
            }
        }
        pid => wait(pid),
    }
}

fn wait(pid: libc::pid_t) -> Child {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "waitpid: {error}");
    }
    if libc::WIFEXITED(status) {
        return Child::Exited(libc::WEXITSTATUS(status));
    }
    match libc::WTERMSIG(status) {
        libc::SIGALRM => Child::Hung,
        signal => Child::Killed(signal),
    }
}
