//! A file of the kernel's that may not be there, held open.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::process_memory::fill;
use crate::error::{Error, Result};

/// Reads one small file again and again, and allocates nothing for as long as it is the same.
#[derive(Debug, Default)]
pub(super) struct HeldFile {
    path: PathBuf,
    /// `None` when it is to be opened again.
    file: Option<File>,
}

impl HeldFile {
    /// Where the file that is read is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The start of the file `name` in `folder`; `None` where there is none, where it is not ours to read, and where
    /// the kernel has what it tells switched off. A file that fills the buffer is more than it should be: an error.
    pub(super) fn read<'b>(&mut self, folder: &Path, name: &str, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>> {
        if self.path.file_name().is_none_or(|known| known != name) || self.path.parent() != Some(folder) {
            *self = Self { path: folder.join(name), file: None };
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => file,
                Err(error) => return unknown(error, &self.path),
            },
        };
        // Dropped when this fails: the next call opens it again.
        match fill(buffer, 0, |buffer, offset| file.read_at(buffer, offset)) {
            Ok(got) if got == buffer.len() => {
                Err(Error::malformed(format!("{}: has {got} bytes or more, which is too long", self.path.display())))
            }
            Ok(got) => {
                self.file = Some(file);
                Ok(buffer.get(..got))
            }
            Err(error) => unknown(error, &self.path),
        }
    }
}

/// What is not told is no error: the kernel says so in several ways.
fn unknown<T>(error: io::Error, path: &Path) -> Result<Option<T>> {
    // Pressure that is switched off is said when it is read, or opened; of a group that was removed, ENODEV.
    let switched_off =
        [Errno::OPNOTSUPP, Errno::NODEV].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(None),
        _ if switched_off => Ok(None),
        _ => Err(Error::io(format!("cannot read {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_unknown_and_what_fails_is_an_error() {
        let of = |errno: Errno| unknown::<()>(io::Error::from_raw_os_error(errno.raw_os_error()), Path::new("/memory"));
        for errno in [Errno::OPNOTSUPP, Errno::NODEV, Errno::NOENT, Errno::ACCESS, Errno::PERM] {
            assert!(matches!(of(errno), Ok(None)), "{errno}");
        }
        let error = of(Errno::IO).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /memory: "), "{error}");
    }
}
