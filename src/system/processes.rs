//! The processes that have most in memory, from procfs.
//!
//! Nothing is allocated for a process that is not among them: a machine may have tens of thousands, and who asks may be
//! short of memory. Names are those of the kernel, 15 bytes at most: a process's command line cannot be read while its
//! address space is locked, which may be for as long as a broken disk takes.

use std::ffi::CStr;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;

use super::process_memory::statm_sizes;
use crate::error::{Error, Result};

/// How much a walk may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalkLimits {
    pub(crate) processes: u64,
    pub(crate) time: Duration,
}

/// The largest processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LargestProcesses {
    /// Largest first, [`LARGEST`] at most.
    pub(crate) processes: Vec<LargeProcess>,
    /// Processes that were looked at.
    pub(crate) walked: u64,
    /// Of these, those that ended meanwhile.
    pub(crate) vanished: u64,
    /// Of these, those whose figures may not be read, or cannot.
    pub(crate) unreadable: u64,
    /// Whether all were looked at; false when the limits were reached.
    pub(crate) is_complete: bool,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LargeProcess {
    pub(crate) pid: u32,
    /// As the kernel has it.
    pub(crate) name: String,
    /// Resident set, in bytes.
    pub(crate) rss: u64,
}

/// How many are told.
pub(crate) const LARGEST: usize = 10;

/// Entries of the folder that one system call gets.
const FOLDER_BYTES: usize = 8192;
/// Seven numbers of 20 digits.
const STATM_BYTES: usize = 256;
/// 15 bytes and a line's end, by `TASK_COMM_LEN` of Linux.
const NAME_BYTES: usize = 64;

/// One that was found, without a name on the heap.
#[derive(Clone, Copy)]
struct Found {
    pid: u32,
    rss: u64,
    name: [u8; NAME_BYTES],
    name_bytes: usize,
}

/// Walks through all processes of the procfs at `proc`, usually `/proc`, for those with more than `above` bytes in memory.
///
/// # Errors
///
/// When the folder itself cannot be read.
pub(crate) fn largest_processes(proc: &Path, above: u64, limits: WalkLimits) -> Result<LargestProcesses> {
    let begun = Instant::now();
    let page_size = rustix::param::page_size() as u64;
    let failed = |error: Errno| Error::io(format!("cannot list {}", proc.display()), error.into());
    let folder =
        openat(CWD, proc, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let mut buffer = [MaybeUninit::uninit(); FOLDER_BYTES];
    let mut entries = RawDir::new(&folder, &mut buffer);
    let mut largest: [Option<Found>; LARGEST] = [None; LARGEST];
    let mut result = LargestProcesses { is_complete: true, ..LargestProcesses::default() };
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed)?;
        let Some(pid) = pid(entry.file_name()) else { continue };
        if result.walked >= limits.processes || begun.elapsed() >= limits.time {
            result.is_complete = false;
            break;
        }
        result.walked += 1;
        let mut statm = [0; STATM_BYTES];
        let found = read(folder.as_fd(), pid, "statm", &mut statm).and_then(|got| {
            let (_, rss) = statm_sizes(&statm[..got], page_size).ok_or(Errno::INVAL)?;
            let least = largest.iter().map(|one| one.map_or(0, |one| one.rss)).min().unwrap_or(0);
            if rss <= above.max(least) {
                return Ok(None);
            }
            let mut name = [0; NAME_BYTES];
            let name_bytes = read(folder.as_fd(), pid, "comm", &mut name)?;
            Ok(Some(Found { pid, rss, name, name_bytes }))
        });
        match found {
            Ok(None) => {}
            Ok(Some(found)) => insert(&mut largest, found),
            Err(Errno::NOENT | Errno::SRCH) => result.vanished += 1,
            Err(_) => result.unreadable += 1,
        }
    }
    result.processes = largest.iter().flatten().map(Found::told).collect();
    Ok(result)
}

/// The name of a process's folder.
fn pid(name: &CStr) -> Option<u32> {
    let name = name.to_str().ok()?;
    name.starts_with(|first: char| first.is_ascii_digit()).then(|| name.parse().ok())?
}

/// Reads the beginning of a process's file; none of those that are read here is longer than a page.
fn read(folder: BorrowedFd<'_>, pid: u32, file: &str, buffer: &mut [u8]) -> std::result::Result<usize, Errno> {
    let mut path = [0; 32];
    let mut rest = &mut path[..];
    write!(rest, "{pid}/{file}").map_err(|_| Errno::NAMETOOLONG)?;
    let length = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
    let file = openat(folder, &path[..length], OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *buffer))
}

/// Puts one in its place, largest first; of equal ones, the lower pid.
fn insert(largest: &mut [Option<Found>; LARGEST], found: Found) {
    let comes_before = |one: &Option<Found>| one.is_some_and(|one| (one.rss, found.pid) > (found.rss, one.pid));
    let at = largest.partition_point(comes_before);
    if at < largest.len() {
        largest[at..].rotate_right(1);
        largest[at] = Some(found);
    }
}

impl Found {
    fn told(&self) -> LargeProcess {
        let name = self.name.get(..self.name_bytes).unwrap_or_default();
        let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(name)).into_owned();
        LargeProcess { pid: self.pid, name, rss: self.rss }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const LIMITS: WalkLimits = WalkLimits { processes: 1000, time: Duration::from_secs(60) };

    /// A procfs with processes of so many pages.
    fn procfs(processes: &[(u32, &str, u64)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for other in ["self", "sys", "1a", "acpi"] {
            fs::create_dir(folder.path().join(other)).unwrap();
        }
        fs::write(folder.path().join("meminfo"), "").unwrap();
        for (pid, name, pages) in processes {
            let process = folder.path().join(pid.to_string());
            fs::create_dir(&process).unwrap();
            fs::write(process.join("statm"), format!("{} {pages} 1 1 0 1 0\n", pages * 3)).unwrap();
            fs::write(process.join("comm"), format!("{name}\n")).unwrap();
        }
        folder
    }

    fn page() -> u64 {
        rustix::param::page_size() as u64
    }

    fn told(found: &LargestProcesses) -> Vec<(u32, &str, u64)> {
        found.processes.iter().map(|process| (process.pid, &*process.name, process.rss / page())).collect()
    }

    #[test]
    fn the_largest_come_first_and_small_ones_are_left_out() {
        let folder =
            procfs(&[(7, "a b)", 30), (40, "small", 9), (3, "big", 50), (11, "limit", 10), (12, "kthread", 0)]);
        let found = largest_processes(folder.path(), 10 * page(), LIMITS).unwrap();
        assert_eq!(told(&found), [(3, "big", 50), (7, "a b)", 30)]);
        assert_eq!((found.walked, found.vanished, found.unreadable, found.is_complete), (5, 0, 0, true));
    }

    #[test]
    fn there_are_ten_at_most_whatever_the_order() {
        let sizes = [5u64, 17, 3, 12, 12, 1, 9, 20, 4, 11, 2, 15, 8, 6];
        let processes: Vec<_> = sizes.iter().zip(100..).map(|(&pages, pid)| (pid, "x", pages)).collect();
        let found = largest_processes(procfs(&processes).path(), 0, LIMITS).unwrap();
        let mut expect: Vec<_> = processes.iter().map(|&(pid, name, pages)| (pid, name, pages)).collect();
        expect.sort_by_key(|&(pid, _, pages)| (std::cmp::Reverse(pages), pid));
        assert_eq!(told(&found), expect[..LARGEST]);
        assert_eq!(found.walked, 14);
    }

    #[test]
    fn those_that_end_meanwhile_and_those_that_may_not_be_read_are_counted() {
        let folder =
            procfs(&[(1, "stays", 50), (2, "gone", 50), (3, "gone later", 50), (4, "secret", 50), (5, "odd", 50)]);
        fs::remove_file(folder.path().join("2/statm")).unwrap();
        fs::remove_file(folder.path().join("3/comm")).unwrap();
        // Root may read what nobody may, but no folder as a file.
        fs::remove_file(folder.path().join("4/statm")).unwrap();
        fs::create_dir(folder.path().join("4/statm")).unwrap();
        fs::write(folder.path().join("5/statm"), "50 many\n").unwrap();
        let found = largest_processes(folder.path(), 0, LIMITS).unwrap();
        assert_eq!(told(&found), [(1, "stays", 50)]);
        assert_eq!((found.walked, found.vanished, found.unreadable, found.is_complete), (5, 2, 2, true));
    }

    #[test]
    fn a_walk_ends_at_its_limits_and_says_so() {
        let processes: Vec<_> = (1..=20).map(|pid| (pid, "x", 5)).collect();
        let folder = procfs(&processes);
        let few = WalkLimits { processes: 19, ..LIMITS };
        let found = largest_processes(folder.path(), 0, few).unwrap();
        assert_eq!((found.walked, found.is_complete), (19, false));
        let all = WalkLimits { processes: 20, ..LIMITS };
        assert!(largest_processes(folder.path(), 0, all).unwrap().is_complete);
        let late = WalkLimits { time: Duration::ZERO, ..LIMITS };
        let found = largest_processes(folder.path(), 0, late).unwrap();
        assert_eq!((found.walked, found.is_complete, found.processes.len()), (0, false, 0));
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_an_error() {
        let error = largest_processes(Path::new("/proc/self/statm"), 0, LIMITS).unwrap_err();
        assert!(error.to_string().contains("cannot list /proc/self/statm"), "{error}");
    }

    #[test]
    fn names_that_are_no_text_are_shown_all_the_same() {
        let folder = procfs(&[(1, "x", 5)]);
        fs::write(folder.path().join("1/comm"), b"\xffname with \n in\n").unwrap();
        let found = largest_processes(folder.path(), 0, LIMITS).unwrap();
        assert_eq!(found.processes[0].name, "\u{fffd}name with \n in");
    }

    #[test]
    fn this_process_is_among_all() {
        let found = largest_processes(Path::new("/proc"), 0, LIMITS).unwrap();
        assert!(found.walked > 1 && !found.processes.is_empty(), "{found:?}");
        assert!(found.processes.iter().all(|process| !process.name.is_empty()), "{found:?}");
        assert!(found.processes.is_sorted_by_key(|process| std::cmp::Reverse(process.rss)), "{found:?}");
    }
}
