//! What the kernel knows of how a process ended: kills for memory, by group and by process, and when it was booted itself.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process_memory::digits;

/// Bytes of the file with a group's counters: a few lines.
const COUNTERS_BYTES: usize = 4096;

/// The counter of processes of a control group that were killed for memory.
#[derive(Debug)]
pub(crate) struct OomCounter {
    path: PathBuf,
    /// Of the file in its filesystem: another group of the same name has another.
    number: u64,
    file: File,
}

impl OomCounter {
    /// The counter in the file at `path`, as [`CgroupReader::oom_file`](super::CgroupReader::oom_file) gives it.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let counter = Self { path: path.to_owned(), number: file.metadata().ok()?.ino(), file };
        counter.read().map(|_| counter)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's number, which is that of the group.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The counter now; allocates nothing.
    pub(crate) fn read(&self) -> Option<u64> {
        let mut buffer = [0; COUNTERS_BYTES];
        let len = self.file.read_at(&mut buffer, 0).ok()?;
        oom_kills(&buffer[..len])
    }
}

/// `oom_kill N`: of v2's `memory.events` and v1's `memory.oom_control`.
fn oom_kills(text: &[u8]) -> Option<u64> {
    let lines = text.split(|&byte| byte == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"oom_kill ")).find_map(|count| digits(count.trim_ascii()))
}

/// What names this boot of the machine; empty where the kernel does not say.
pub(crate) fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().chars().take(36).collect()
}

/// Time since the machine was booted, suspended or not as the kernel's own log counts it.
pub(crate) fn since_boot() -> Duration {
    let now = super::clock::now(libc::CLOCK_MONOTONIC);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Most of the kernel's log that is read: it is 16 MiB where somebody made it large.
const MOST_RECORDS: usize = 200_000;

/// Process ids are used again: so many kills of one are told, the last ones.
const MOST_KILLS: usize = 16;

/// The kernel's own words for having killed a process `pid` for memory, each with its time since boot by the log's clock, the
/// oldest first; none where this user may not read them. Which process of that id it was is for others to judge.
pub(crate) fn kills_by_kernel(pid: u32) -> Vec<(Duration, String)> {
    let mut found = VecDeque::new();
    let log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(log) = log else { return Vec::new() };
    let mut record = [0; 8192];
    for _ in 0..MOST_RECORDS {
        match (&log).read(&mut record) {
            Ok(0) => break,
            Ok(len) => {
                if let Some(kill) = kill_of(&record[..len], pid) {
                    found.truncate(MOST_KILLS - 1);
                    found.push_front(kill);
                }
            }
            // EPIPE: what comes next was overwritten meanwhile.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    found.into_iter().rev().collect()
}

/// A record of `/dev/kmsg` (`Documentation/ABI/testing/dev-kmsg` of Linux): `6,339,5140900,-;text`, with the time in
/// microseconds. The text is that of `__oom_kill_process` in mm/oom_kill.c.
fn kill_of(record: &[u8], pid: u32) -> Option<(Duration, String)> {
    let line = record.split(|&byte| byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (head, text) = line.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let (_, killed) = text.split_once("Killed process ")?;
    let (named, _) = killed.split_once(' ')?;
    let is_it = named.parse() == Ok(pid) && text.contains("ut of memory");
    is_it.then(|| (Duration::from_micros(micros), text.chars().take(300).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_the_counter_under_one_name() {
        let v2 = b"low 0\nhigh 3\nmax 812\noom 4\noom_kill 2\noom_group_kill 0\n";
        let v1 = b"oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
        assert_eq!(
            [&v2[..], v1, b"oom_kill_disable 1\n", b"oom_kill x\n", b""].map(oom_kills),
            [Some(2), Some(7), None, None, None]
        );
    }

    #[test]
    fn the_kernels_words_are_of_that_process_with_their_time() {
        let record =
            b"3,1234,5000000,-;Memory cgroup out of memory: Killed process 4711 (leaky) total-vm:123kB\n SUB=x\n";
        let check = |pid| kill_of(record, pid).map(|(at, _)| at);
        assert_eq!([check(4711), check(471), check(47110)], [Some(Duration::from_secs(5)), None, None]);
        let whole = b"3,1,5000000,-;Out of memory: Killed process 4711 (leaky) total-vm:123kB";
        assert_eq!(kill_of(whole, 4711).unwrap().1, "Out of memory: Killed process 4711 (leaky) total-vm:123kB");
        for other in ["", ";", "6,1,2,-;Killed process x", "6,1,2,-;somebody wrote Killed process 4711 (x)"] {
            assert_eq!(kill_of(other.as_bytes(), 4711), None, "{other}");
        }
    }

    #[test]
    fn this_boot_has_a_name_and_an_age() {
        assert_eq!(boot_id().len(), 36);
        assert!(since_boot() > Duration::ZERO);
    }
}
