//! Instructions, counted by valgrind: the same from run to run, where the time is not.

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
    command
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
