//! Memory pressure (PSI): of the control group where v2 tells it, else of the machine.
//!
//! Format: `Documentation/accounting/psi.rst` of Linux.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::held_file::HeldFile;
use super::process_memory::{digits, unexpected};
use crate::error::Result;
use crate::profile::{Pressure, Share, Stall};

/// Two lines, each of three shares and a number of 20 digits at most, take 150 bytes.
const BYTES: usize = 256;

/// Reads memory pressure again and again.
#[derive(Debug)]
pub(crate) struct PressureReader {
    proc_pressure: PathBuf,
    of_group: HeldFile,
    of_machine: HeldFile,
}

impl PressureReader {
    /// Of the machine whose `/proc` is below `root`, usually `/`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            proc_pressure: root.join("proc/pressure"),
            of_group: HeldFile::default(),
            of_machine: HeldFile::default(),
        }
    }

    /// The pressure of now, of the group in v2's hierarchy whose folder is `unified`, or of the machine; `None` where the
    /// kernel tells neither.
    pub(crate) fn read(&mut self, unified: Option<&Path>) -> Result<Option<Pressure>> {
        let mut buffer = [0; BYTES];
        if let Some(folder) = unified
            && let Some(text) = self.of_group.read(folder, "memory.pressure", &mut buffer)?
        {
            return pressure(text, true, self.of_group.path()).map(Some);
        }
        match self.of_machine.read(&self.proc_pressure, "memory", &mut buffer)? {
            Some(text) => pressure(text, false, self.of_machine.path()).map(Some),
            None => Ok(None),
        }
    }
}

fn pressure(text: &[u8], of_group: bool, path: &Path) -> Result<Pressure> {
    let line = |kind: &[u8]| {
        text.split_inclusive(|&byte| byte == b'\n')
            // Without the newline the last number may have been cut short.
            .filter_map(|line| line.strip_suffix(b"\n")?.strip_prefix(kind))
            .find_map(stall)
    };
    match (line(b"some "), line(b"full ")) {
        (Some(some), Some(full)) => Ok(Pressure { some, full, of_group }),
        _ => Err(unexpected(path, "lines some and full with avg10=, avg60=, avg300= and total=", text)),
    }
}

fn stall(line: &[u8]) -> Option<Stall> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut field = |key: &[u8]| fields.next()?.strip_prefix(key);
    Some(Stall {
        avg10: share(field(b"avg10=")?)?,
        avg60: share(field(b"avg60=")?)?,
        avg300: share(field(b"avg300=")?)?,
        total: Duration::from_micros(digits(field(b"total=")?)?),
    })
}

/// `12.34`, which is of a percent.
fn share(text: &[u8]) -> Option<Share> {
    let (whole, [b'.', hundredths @ ..]) = text.split_at_checked(text.len().checked_sub(3)?)? else { return None };
    let hundredths = digits(whole)?.checked_mul(100)?.checked_add(digits(hundredths)?)?;
    u32::try_from(hundredths).ok().map(Share)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::error::ErrorKind;

    const TEXT: &str = "some avg10=12.34 avg60=5.00 avg300=100.00 total=1234567\n\
                        full avg10=1.05 avg60=0.50 avg300=0.00 total=89\n";
    const QUIET: &str =
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

    fn root(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: &str = "proc/pressure/memory";
    const GROUP: &str = "sys/fs/cgroup/foo/memory.pressure";

    fn read(root: &TempDir) -> Result<Option<Pressure>> {
        PressureReader::new(root.path()).read(Some(&root.path().join("sys/fs/cgroup/foo")))
    }

    #[test]
    fn the_groups_own_pressure_goes_before_that_of_the_machine() {
        let seen = read(&root(&[(GROUP, TEXT), (MACHINE, QUIET)])).unwrap().unwrap();
        assert!(seen.of_group);
        let stall = |avg10, avg60, avg300, micros| Stall {
            avg10: Share(avg10),
            avg60: Share(avg60),
            avg300: Share(avg300),
            total: Duration::from_micros(micros),
        };
        assert_eq!(seen.some, stall(1234, 500, 10_000, 1_234_567));
        assert_eq!(seen.full, stall(105, 50, 0, 89));
        assert_eq!(seen.some.avg10.to_string(), "12.34%");

        let seen = read(&root(&[(MACHINE, TEXT)])).unwrap().unwrap();
        assert!(!seen.of_group);
        assert_eq!(seen.some.avg10, Share(1234));
        let root = root(&[(MACHINE, TEXT), (GROUP, QUIET)]);
        assert!(!PressureReader::new(root.path()).read(None).unwrap().unwrap().of_group, "v1 without v2 beside it");
    }

    #[test]
    fn pressure_that_is_not_told_is_unknown_and_no_error() {
        assert_eq!(read(&root(&[])).unwrap(), None);
    }

    #[test]
    fn what_is_no_pressure_is_refused() {
        for bad in [
            "",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1",
            "some avg10=0.0 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "some avg10=-1.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "some avg10=1,00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "some avg10=99999999999.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "some avg60=0.00 avg10=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ] {
            let error = read(&root(&[(MACHINE, bad)])).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().contains("proc/pressure/memory: expected lines some and full"), "{error}");
        }
        let error = read(&root(&[(MACHINE, &TEXT.repeat(3))])).unwrap_err().to_string();
        assert!(error.ends_with("has 256 bytes or more, which is too long"), "{error}");
    }

    #[test]
    fn the_descriptor_is_held_and_follows_the_group() {
        let root = root(&[(GROUP, TEXT), ("sys/fs/cgroup/bar/memory.pressure", QUIET), (MACHINE, QUIET)]);
        let folder = |name: &str| root.path().join("sys/fs/cgroup").join(name);
        let mut reader = PressureReader::new(root.path());
        let mut avg10 = |group: &str| {
            let seen = reader.read(Some(&folder(group))).unwrap().unwrap();
            (seen.of_group, seen.some.avg10.0)
        };
        assert_eq!(avg10("foo"), (true, 1234));
        // What is open stays readable: nothing was looked up again.
        fs::rename(folder("foo"), folder("gone")).unwrap();
        assert_eq!(avg10("foo"), (true, 1234));
        assert_eq!(avg10("bar"), (true, 0));
        assert_eq!(avg10("foo"), (false, 0));
    }

    #[test]
    fn this_machine_can_be_asked() {
        let seen = PressureReader::new(Path::new("/")).read(None).unwrap();
        assert_eq!(seen.is_some(), fs::read("/proc/pressure/memory").is_ok());
    }
}
