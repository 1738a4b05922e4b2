//! What figures depend on.

use std::process::Command;

use crate::cell::Library;
use crate::text::number;

/// The machine, in general words: `2 x86_64 cores, 24 GiB of memory, Linux 6.1`.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What comes after the number is whoever built it.
    let kernel = kernel.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    format!(
        "{cores} {} cores, {} GiB of memory, Linux {kernel}",
        std::env::consts::ARCH,
        number(memory / 1_048_576.0, 0)
    )
}

/// As it is now; the program may have been built by another.
pub fn rustc() -> String {
    let version = Command::new("rustc").arg("--version").output().ok().filter(|output| output.status.success());
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    // The number alone, without its commit.
    version.map_or("rustc of unknown version".to_owned(), |it| it.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

/// Name and version, as this program was built with.
pub fn version(library: Library) -> String {
    let lock = include_str!("../../Cargo.lock");
    let entry = format!("name = \"{}\"\nversion = \"", library.name());
    let version = lock.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
    format!("{} {}", library.name(), version.unwrap_or("of unknown version"))
}
