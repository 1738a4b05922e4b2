//! Resident set and its parts, address space, swap and threads of this process, from `statm` and `status` of procfs.
//!
//! Both descriptors stay open and a successful reading allocates nothing: it neither shows up in the profile of the
//! heap that it watches, nor needs memory when there is none left. The descriptors are of the process that opened
//! them: a forked child reads its parent's figures through them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::profile::ProcessMemory;

/// More than seven numbers of 20 digits need.
const STATM_BYTES: usize = 256;
/// A usual `status` in one piece; a longer one (of a user in a thousand groups, say) takes several.
const STATUS_BYTES: usize = 4096;

/// Reads the memory figures of one process again and again.
#[derive(Debug)]
pub(crate) struct ProcessMemoryReader {
    statm: ProcFile,
    status: ProcFile,
    page_size: u64,
}

impl ProcessMemoryReader {
    /// Opens the files of the process whose folder this is, usually `/proc/self`.
    pub(crate) fn open(proc_self: &Path) -> Result<Self> {
        Ok(Self {
            statm: ProcFile::open(proc_self.join("statm"))?,
            status: ProcFile::open(proc_self.join("status"))?,
            page_size: rustix::param::page_size() as u64,
        })
    }

    /// The figures of now. After an error the next call simply tries again.
    pub(crate) fn read(&mut self) -> Result<ProcessMemory> {
        let (virtual_size, rss) = self.read_sizes()?;
        Ok(ProcessMemory { rss, virtual_size, ..self.read_status()? })
    }

    fn read_sizes(&mut self) -> Result<(u64, u64)> {
        let mut buffer = [0; STATM_BYTES];
        let got = self.statm.read_at(&mut buffer, 0)?;
        let seen = &buffer[..got];
        match statm_sizes(seen, self.page_size) {
            Some((_, 0)) => Err(unexpected(
                &self.statm.path,
                "a resident set above zero (some kernels from 6.2 on say 0 by mistake)",
                seen,
            )),
            Some(sizes) => Ok(sizes),
            None => Err(unexpected(&self.statm.path, "a line of page counts", seen)),
        }
    }

    /// All of the figures that are not in `statm`.
    fn read_status(&mut self) -> Result<ProcessMemory> {
        let mut found = ProcessMemory::default();
        let mut buffer = [0; STATUS_BYTES];
        let (mut kept, mut offset) = (0, 0);
        // Inside of a line that is longer than the buffer: none of ours is.
        let mut skipping = false;
        loop {
            let got = self.status.read_at(&mut buffer[kept..], offset)?;
            let seen = &buffer[..kept + got];
            let at_end = seen.len() < buffer.len();
            let mut rest = seen;
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let (line, after) = rest.split_at(end);
                if !std::mem::take(&mut skipping) {
                    self.note(line, &mut found)?;
                }
                rest = &after[1..];
            }
            let fills_the_buffer = rest.len() == buffer.len();
            if (at_end || fills_the_buffer) && !skipping {
                // One of ours that was cut short, or that goes on and on, is told as such.
                self.note(rest, &mut found)?;
            }
            if at_end {
                let empty = offset == 0 && got == 0;
                if empty || skipping || !rest.is_empty() {
                    let end = &seen[seen.len().saturating_sub(EXCERPT_BYTES)..];
                    return Err(unexpected(&self.status.path, "lines, the last one finished", end));
                }
                return Ok(found);
            }
            // A line without its end goes on in the next piece.
            skipping |= fills_the_buffer;
            kept = if skipping { 0 } else { rest.len() };
            let unfinished = seen.len() - kept;
            buffer.copy_within(unfinished..unfinished + kept, 0);
            offset += got as u64;
        }
    }

    /// Takes the figure from a line of `status`, if it has one that is wanted.
    fn note(&self, line: &[u8], found: &mut ProcessMemory) -> Result<()> {
        let figures = [
            ("VmSwap", &mut found.swap, KIBIBYTES),
            ("RssAnon", &mut found.anonymous, KIBIBYTES),
            ("RssFile", &mut found.files, KIBIBYTES),
            ("RssShmem", &mut found.shared_memory, KIBIBYTES),
            ("Threads", &mut found.threads, ONES),
        ];
        for (name, figure, (unit, factor)) in figures {
            let Some(value) = line.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) else {
                continue;
            };
            let number = value
                // Wanting the unit makes a number that was cut short an error.
                .strip_suffix(unit.as_bytes())
                .and_then(|value| digits(value.trim_ascii()))
                .and_then(|number| number.checked_mul(factor));
            *figure = match number {
                Some(number) => Some(number),
                None => return Err(unexpected(&self.status.path, &format!("{name} as a number{unit}"), line)),
            };
            break;
        }
        Ok(())
    }
}

/// Suffix and factor of the figures of `status`.
const KIBIBYTES: (&str, u64) = (" kB", 1024);
const ONES: (&str, u64) = ("", 1);

/// Address space and resident set in bytes.
pub(super) fn statm_sizes(statm: &[u8], page_size: u64) -> Option<(u64, u64)> {
    // Without the newline the last number may have been cut short.
    let mut fields = statm.strip_suffix(b"\n")?.split(|&byte| byte == b' ');
    let mut bytes = || digits(fields.next()?)?.checked_mul(page_size);
    Some((bytes()?, bytes()?))
}

#[derive(Debug)]
pub(super) struct ProcFile {
    pub(super) path: PathBuf,
    /// `None` after a failed read: the next one opens the file again.
    file: Option<File>,
}

impl ProcFile {
    fn open(path: PathBuf) -> Result<Self> {
        let file = Some(open(&path)?);
        Ok(Self { path, file })
    }

    /// One that the first read opens.
    pub(super) fn closed(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        let got = fill(buffer, offset, |buffer, offset| file.read_at(buffer, offset))
            .map_err(|error| Error::io(format!("cannot read {}", self.path.display()), error))?;
        self.file = Some(file);
        Ok(got)
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::io(format!("cannot open {}", path.display()), error))
}

/// Reads until the buffer is full or the file ends; says how much there was.
pub(super) fn fill(
    buffer: &mut [u8],
    offset: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// A number written in digits alone; `u64`'s own parser would take a plus sign too.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

/// How much of a file an error message quotes.
const EXCERPT_BYTES: usize = 120;

/// The error for a kernel file that holds something else than it should.
pub(super) fn unexpected(path: &Path, expected: &str, seen: &[u8]) -> Error {
    let excerpt = String::from_utf8_lossy(&seen[..seen.len().min(EXCERPT_BYTES)]);
    Error::malformed(format!("{}: expected {expected}, saw {excerpt:?}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorKind;

    const STATM: &str = "765 439 410 5 0 123 0\n";
    const STATUS: &str = "Name:\tcat\nVmRSS:\t    1756 kB\nRssAnon:\t     116 kB\nRssFile:\t    1604 kB\n\
                          RssShmem:\t      36 kB\nVmSwap:\t      12 kB\nThreads:\t7\n";

    fn folder(statm: &str, status: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("statm"), statm).unwrap();
        fs::write(folder.path().join("status"), status).unwrap();
        folder
    }

    fn read(statm: &str, status: &str) -> Result<ProcessMemory> {
        ProcessMemoryReader::open(folder(statm, status).path()).unwrap().read()
    }

    fn check(statm: &str, status: &str, pages: (u64, u64), swap: Option<u64>) {
        let page_size = rustix::param::page_size() as u64;
        let seen = read(statm, status).unwrap();
        let expected = (pages.0 * page_size, pages.1 * page_size, swap);
        assert_eq!((seen.virtual_size, seen.rss, seen.swap), expected, "{statm:?} {status:?}");
    }

    fn check_refused(statm: &str, status: &str, file: &str, words: &str) {
        let error = read(statm, status).expect_err(&format!("{statm:?} {status:?}"));
        assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
        let message = error.to_string();
        assert!(message.contains(&format!("/{file}: ")), "{message}");
        assert!(message.contains(words), "{message}");
    }

    #[test]
    fn figures_are_in_bytes() {
        check(STATM, STATUS, (765, 439), Some(12 * 1024));
        check("1 1 0 0 0 0 0\n", "VmSwap:\t0 kB\n", (1, 1), Some(0));
    }

    #[test]
    fn the_parts_of_the_resident_set_and_the_threads_are_told() {
        let seen = read(STATM, STATUS).unwrap();
        assert_eq!((seen.anonymous, seen.files), (Some(116 * 1024), Some(1604 * 1024)));
        assert_eq!((seen.shared_memory, seen.threads), (Some(36 * 1024), Some(7)));
        // In any order, and each on its own.
        let seen = read(STATM, "Threads:\t12\nRssShmem:\t0 kB\nRssFile:\t3 kB\n").unwrap();
        assert_eq!((seen.anonymous, seen.files), (None, Some(3 * 1024)));
        assert_eq!((seen.shared_memory, seen.threads), (Some(0), Some(12)));
    }

    #[test]
    fn names_that_only_begin_like_ours_are_others() {
        let seen = read(STATM, "RssFiles:\t3 kB\nRssAnonymous:\t4 kB\nThreadsX:\t5\nXVmSwap:\t6 kB\n").unwrap();
        assert_eq!((seen.files, seen.anonymous, seen.threads, seen.swap), (None, None, None, None));
    }

    #[test]
    fn swap_that_the_kernel_does_not_tell_is_unknown() {
        check(STATM, "Name:\tcat\nThreads:\t1\n", (765, 439), None);
        check(STATM, "Name:\tVmSwap:\t7 kB\n", (765, 439), None);
    }

    #[test]
    fn swap_is_found_wherever_the_buffer_ends() {
        for padding in STATUS_BYTES - 80..STATUS_BYTES + 80 {
            let groups = "1".repeat(padding);
            let status = format!("Groups:\t{groups}\nVmSwap:\t      12 kB\n");
            check(STATM, &status, (765, 439), Some(12 * 1024));
            let status = format!("Groups:\t{groups}\nThreads:\t1\nVmSwap:\t      12 kB\nNgid:\t0\n");
            check(STATM, &status, (765, 439), Some(12 * 1024));
            check(STATM, &format!("Groups:\t{groups}\n"), (765, 439), None);
            check_refused(STATM, &format!("Groups:\t{groups}"), "status", "finished");
            let garbage = format!("Groups:\t1\nVmSwap:{groups}\n");
            check_refused(STATM, &garbage, "status", "saw \"VmSwap:11");
            // What a piece begins with is the end of a line, not a line.
            check(STATM, &format!("Groups:\t{groups}VmSwap:\t12 kB\n"), (765, 439), None);
            let status = format!("Groups:\t{groups}\n{STATUS}");
            assert_eq!(read(STATM, &status).unwrap(), read(STATM, STATUS).unwrap(), "{padding}");
        }
        let mut ours = b"VmSwap:".to_vec();
        ours.resize(STATUS_BYTES, b'1');
        let status = format!("{}\n{STATUS}", String::from_utf8(ours).unwrap());
        check_refused(STATM, &status, "status", "saw \"VmSwap:11");
        for longer in [STATUS_BYTES, 2 * STATUS_BYTES, 3 * STATUS_BYTES] {
            check_refused(STATM, &"1".repeat(longer), "status", "finished");
        }
        let status = format!("Groups:\t{}\n{STATUS}", "65534 ".repeat(65536));
        check(STATM, &status, (765, 439), Some(12 * 1024));
    }

    #[test]
    fn a_resident_set_of_zero_is_no_reading() {
        check_refused("765 0 410 5 0 123 0\n", STATUS, "statm", "saw \"765 0 410");
    }

    #[test]
    fn a_malformed_statm_is_refused() {
        check_refused("", STATUS, "statm", "saw \"\"");
        check_refused("\n", STATUS, "statm", "saw \"\\n\"");
        check_refused("765\n", STATUS, "statm", "saw \"765\\n\"");
        check_refused("765 43", STATUS, "statm", "saw \"765 43\"");
        check_refused("765 -1 0\n", STATUS, "statm", "saw \"765 -1 0");
        check_refused("765 +1 0\n", STATUS, "statm", "saw \"765 +1 0");
        check_refused("765 kB 0\n", STATUS, "statm", "saw \"765 kB 0");
        check_refused("1 18446744073709551615 0\n", STATUS, "statm", "saw \"1 18446744073709551615");
        check_refused(&"7 ".repeat(STATM_BYTES), STATUS, "statm", "saw \"7 7 7");
    }

    #[test]
    fn a_malformed_status_is_refused() {
        check_refused(STATM, "", "status", "saw \"\"");
        check_refused(STATM, "Name:\tca", "status", "Name:\\tca");
        check_refused(STATM, "Name:\tcat\nVmSwap:\t  1", "status", "saw \"VmSwap:\\t  1\"");
        check_refused(STATM, "VmSwap:\t1 MB\n", "status", "saw \"VmSwap:\\t1 MB\"");
        check_refused(STATM, "VmSwap:\t-1 kB\n", "status", "saw \"VmSwap:\\t-1 kB\"");
        check_refused(STATM, "VmSwap:\t18446744073709551615 kB\n", "status", "saw \"VmSwap");
        check_refused(STATM, "VmSwap:\t12 kB", "status", "saw \"VmSwap:\\t12 kB\"");
        check_refused(STATM, "RssAnon:\t1\n", "status", "RssAnon as a number kB, saw");
        check_refused(STATM, "RssFile:\t kB\n", "status", "RssFile as a number kB, saw");
        check_refused(STATM, "RssShmem:\t+3 kB\n", "status", "RssShmem as a number kB, saw");
        check_refused(STATM, "Threads:\t1 kB\n", "status", "Threads as a number, saw");
        check_refused(STATM, "Threads:\t\n", "status", "Threads as a number, saw");
        check_refused(STATM, "Threads:\t1", "status", "finished");
    }

    #[test]
    fn a_later_reading_sees_the_file_of_then() {
        let folder = folder(STATM, STATUS);
        let mut reader = ProcessMemoryReader::open(folder.path()).unwrap();
        let first = reader.read().unwrap();
        fs::write(folder.path().join("statm"), "76").unwrap();
        reader.read().unwrap_err();
        fs::write(folder.path().join("statm"), "765 440 410 5 0 123 0\n").unwrap();
        assert_eq!(reader.read().unwrap().rss, first.rss + reader.page_size);
    }

    #[test]
    fn a_descriptor_that_works_stays_open() {
        let folder = folder(STATM, STATUS);
        let mut reader = ProcessMemoryReader::open(folder.path()).unwrap();
        let first = reader.read().unwrap();
        folder.close().unwrap();
        assert_eq!(reader.read().unwrap(), first);
    }

    #[test]
    fn a_descriptor_that_fails_is_replaced() {
        let folder = folder(STATM, STATUS);
        let mut reader = ProcessMemoryReader::open(folder.path()).unwrap();
        let first = reader.read().unwrap();
        for broken in ["statm", "status"] {
            // Reading a folder's descriptor fails with EISDIR, as a dead process's does with ESRCH.
            let file = Some(File::open(folder.path()).unwrap());
            match broken {
                "statm" => reader.statm.file = file,
                _ => reader.status.file = file,
            }
            let error = reader.read().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains(&format!("/{broken}: ")), "{error}");
            assert_eq!(reader.read().unwrap(), first);
        }
    }

    #[test]
    fn a_process_without_files_is_an_io_error() {
        let folder = TempDir::new().unwrap();
        let error = ProcessMemoryReader::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("statm"), "{error}");
    }

    #[test]
    fn short_and_interrupted_reads_go_on() {
        let file = b"765 439\n";
        let mut interrupted = false;
        let mut buffer = [0; 16];
        let got = fill(&mut buffer, 4, |buffer, offset| {
            interrupted = !interrupted;
            if interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let Some(&byte) = file.get(offset as usize) else {
                return Ok(0);
            };
            buffer[0] = byte;
            Ok(1)
        });
        assert_eq!(&buffer[..got.unwrap()], b"439\n");
    }

    #[test]
    fn this_process_has_memory() {
        let mut reader = ProcessMemoryReader::open(Path::new("/proc/self")).unwrap();
        for _ in 0..3 {
            let memory = reader.read().unwrap();
            assert!(memory.rss > 0 && memory.virtual_size >= memory.rss, "{memory:?}");
            assert!(memory.threads.is_some_and(|threads| threads >= 1), "{memory:?}");
            // The kernel adds RSS up from these; the two files are not read at one moment.
            let parts: u64 = [memory.anonymous, memory.files, memory.shared_memory].into_iter().flatten().sum();
            assert!(parts.abs_diff(memory.rss) < 16 << 20, "{memory:?}");
        }
    }
}
