//! What befell the memory control group, as often as the kernel counted it.
//!
//! v2 tells it in `memory.events.local` (from 5.2 on) and in `memory.events`. The local one goes first: the other adds the
//! groups below, whose own limits are not this process's trouble. v1 tells how often the limit was hit
//! (`memory.failcnt`) and how many were killed (`memory.oom_control`, from 4.13 on).

use std::path::Path;

use super::cgroup::CgroupVersion;
use super::held_file::HeldFile;
use super::process_memory::{digits, unexpected};
use crate::error::Result;
use crate::profile::{CgroupEvent, CgroupEvents};

/// Each line takes 36 bytes at most, and there are seven (6.17).
const BYTES: usize = 1024;

/// Reads the group's counts again and again.
#[derive(Debug, Default)]
pub(crate) struct CgroupEventsReader {
    /// `memory.events.local`, or v1's `memory.oom_control`.
    first: HeldFile,
    /// `memory.events`, or v1's `memory.failcnt`.
    second: HeldFile,
}

impl CgroupEventsReader {
    /// The counts of now, of the group that is in that folder; all `None` where there is no group.
    pub(crate) fn read(&mut self, group: Option<(CgroupVersion, &Path)>) -> Result<CgroupEvents> {
        let Some((version, folder)) = group else { return Ok(CgroupEvents::default()) };
        let mut buffer = [0; BYTES];
        let mut events = CgroupEvents::default();
        match version {
            CgroupVersion::V1 => {
                if let Some(text) = self.first.read(folder, "memory.oom_control", &mut buffer)? {
                    events.oom_kill = keyed(text, "oom_kill", self.first.path())?;
                }
                if let Some(text) = self.second.read(folder, "memory.failcnt", &mut buffer)? {
                    let count = digits(text.trim_ascii());
                    events.max = Some(count.ok_or_else(|| unexpected(self.second.path(), "a number", text))?);
                }
            }
            CgroupVersion::V2 => {
                let is_local = self.first.read(folder, "memory.events.local", &mut buffer)?.map(<[u8]>::len);
                let file = if is_local.is_some() { &mut self.first } else { &mut self.second };
                let text = match is_local {
                    Some(length) => buffer.get(..length),
                    None => file.read(folder, "memory.events", &mut buffer)?,
                };
                if let Some(text) = text {
                    for event in CgroupEvent::ALL {
                        *events.of_mut(event) = keyed(text, event.name(), file.path())?;
                    }
                }
            }
        }
        Ok(events)
    }
}

/// The number after `key` on a line of its own; `None` where this kernel has no such line.
fn keyed(text: &[u8], key: &str, path: &Path) -> Result<Option<u64>> {
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let Some(value) = line.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b" ")) else { continue };
        // Without the newline the number may have been cut short.
        let number = value.strip_suffix(b"\n").and_then(digits);
        return match number {
            Some(number) => Ok(Some(number)),
            None => Err(unexpected(path, &format!("a line {key} with a number"), line)),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn read(version: CgroupVersion, files: &[(&str, &str)]) -> Result<CgroupEvents> {
        CgroupEventsReader::default().read(Some((version, folder(files).path())))
    }

    #[track_caller]
    fn check(version: CgroupVersion, files: &[(&str, &str)], expect: [Option<u64>; 5]) {
        let seen = read(version, files).unwrap();
        assert_eq!(CgroupEvent::ALL.map(|event| seen.of(event)), expect, "{files:?}");
    }

    const LOCAL: &str = "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n";
    const WITH_BELOW: &str = "low 10\nhigh 20\nmax 30\noom 40\noom_kill 50\noom_group_kill 60\n";

    #[test]
    fn v2_tells_all_and_the_groups_own_counts_go_first() {
        let (all, below) = ([1, 2, 3, 4, 5].map(Some), [10, 20, 30, 40, 50].map(Some));
        check(CgroupVersion::V2, &[("memory.events.local", LOCAL), ("memory.events", WITH_BELOW)], all);
        check(CgroupVersion::V2, &[("memory.events", WITH_BELOW)], below);
        // Before 4.19: no oom_kill.
        check(
            CgroupVersion::V2,
            &[("memory.events", "low 0\nhigh 0\nmax 9\noom 0\n")],
            [Some(0), Some(0), Some(9), Some(0), None],
        );
    }

    #[test]
    fn v1_tells_the_limit_and_the_killed() {
        let control = "oom_kill_disable 0\nunder_oom 1\noom_kill 3\n";
        check(
            CgroupVersion::V1,
            &[("memory.oom_control", control), ("memory.failcnt", "17\n")],
            [None, None, Some(17), None, Some(3)],
        );
        // Before 4.13.
        let control = "oom_kill_disable 0\nunder_oom 0\n";
        check(
            CgroupVersion::V1,
            &[("memory.oom_control", control), ("memory.failcnt", "0\n")],
            [None, None, Some(0), None, None],
        );
        // v2's files mean nothing there.
        check(CgroupVersion::V1, &[("memory.events", WITH_BELOW)], [None; 5]);
    }

    #[test]
    fn what_is_not_told_is_unknown_and_never_zero() {
        check(CgroupVersion::V2, &[], [None; 5]);
        check(CgroupVersion::V1, &[], [None; 5]);
        assert_eq!(CgroupEventsReader::default().read(None).unwrap(), CgroupEvents::default());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for (version, name, bad) in [
            (CgroupVersion::V2, "memory.events", "high x\n"),
            (CgroupVersion::V2, "memory.events", "high \n"),
            (CgroupVersion::V2, "memory.events.local", "high 1"),
            (CgroupVersion::V2, "memory.events.local", "oom_kill -1\n"),
            (CgroupVersion::V1, "memory.failcnt", ""),
            (CgroupVersion::V1, "memory.failcnt", "max\n"),
            (CgroupVersion::V1, "memory.oom_control", "oom_kill y\n"),
        ] {
            let error = read(version, &[(name, bad)]).expect_err(bad).to_string();
            assert!(error.contains(&format!("/{name}: expected a")), "{error}");
        }
    }

    #[test]
    fn each_reading_sees_the_counts_of_then() {
        let folder = folder(&[("memory.events.local", LOCAL)]);
        let mut reader = CgroupEventsReader::default();
        let mut high = || reader.read(Some((CgroupVersion::V2, folder.path()))).unwrap().high;
        assert_eq!(high(), Some(2));
        fs::write(folder.path().join("memory.events.local"), "high 7\n").unwrap();
        assert_eq!(high(), Some(7));
    }
}
