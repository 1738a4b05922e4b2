//! Instructions, counted by valgrind: the same from run to run, where the time is not.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::common::Result;

/// `child` under callgrind, which writes what it counted to `log`; only within [`counted`], or from start to end.
pub fn under_callgrind(child: &Command, within: bool, log: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    if within {
        command.args(["--collect-atstart=no", "--toggle-collect=heapward_bench_counted"]);
    }
    command.arg(format!("--log-file={}", log.display())).arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    // SAFETY: what runs between fork and exec is two system calls.
    unsafe { command.pre_exec(hide_auxiliary_vector) };
    command
}

/// Has the kernel refuse `prctl(PR_GET_AUXV)`, which is not hidden by valgrind 3.19: rustix, on which heapward's clock rests,
/// would learn of a vDSO that valgrind has unmapped, and read it. It falls back to a file that valgrind does fake.
fn hide_auxiliary_vector() -> std::io::Result<()> {
    const PR_GET_AUXV: u32 = 0x4155_5856;
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // Offsets into `struct seccomp_data`: the number of the call, and the low half of its first argument.
    const NUMBER: u32 = 0;
    const ARGUMENT: u32 = 16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD, 0, 0, NUMBER),
        step(IF_EQUAL, 0, 3, libc::SYS_prctl as u32),
        step(LOAD, 0, 0, ARGUMENT),
        step(IF_EQUAL, 0, 1, PR_GET_AUXV),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the program and its steps live until the call returns, and the kernel checks what they say.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// What was counted.
pub fn collected(log: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(log)?;
    let line = text.lines().find_map(|line| line.split_once("Collected :")).ok_or("callgrind counted nothing")?;
    Ok(line.1.trim().parse()?)
}

/// Whether there is a valgrind.
pub fn is_there() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}
