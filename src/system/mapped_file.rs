//! A file as bytes, of which only those pages are in memory that were read since the last [`MappedFile::release`].

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// A regular file, mapped to be read.
///
/// Reading a page that the file no longer has, or that its disk cannot give, ends the process with SIGBUS. What guards
/// against the first: the kernel refuses writers of the program that runs, the libraries that are loaded are mapped
/// anyway, and whoever replaces a file by a rename, as package managers do, leaves the mapped one whole. The size is
/// taken from the open file, so a file that was cut before is read as what is left of it. Reading with `pread` instead
/// would need a copy of each unit in anonymous memory, which is what there may be none of.
#[derive(Debug)]
pub(crate) struct MappedFile {
    start: NonNull<u8>,
    len: usize,
}

impl MappedFile {
    /// Maps the file at `path`. Takes no memory but for the kernel's tables until it is read.
    ///
    /// # Errors
    ///
    /// Whatever opening gives, and for what has no size: an empty file, a pipe, a device.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // To open a pipe that has no writer must not wait for one.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // The kernel refuses to map nothing, which is what an empty file, a pipe and a device have.
        // SAFETY: a null hint asks for a new mapping, which aliases nothing of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, &file, 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Takes all pages out of this process's memory; reading them again brings them back.
    pub(crate) fn release(&self) {
        // SAFETY: the range is ours and was never written to, so each page comes back from the file as it was. A
        // failure leaves the pages in memory, no more.
        let _ = unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontNeed) };
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is mapped and readable for as long as self lives, and this process never writes to it.
        // That another process writes to the file meanwhile cannot be ruled out; its readers take every byte for
        // damaged input, so they may see nonsense, and check each length that they read against this slice's.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the range is the one that was mapped, and the borrows of it end with self.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_bytes_before_and_after_a_release() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = MappedFile::open(&path).unwrap();
        assert!(file[..] == bytes[..]);
        file.release();
        std::fs::remove_file(&path).unwrap();
        assert!(file[..] == bytes[..]);
    }

    #[test]
    fn what_is_no_file_with_bytes_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [folder.path(), &empty, &pipe, Path::new("/dev/zero"), &folder.path().join("none")] {
            assert!(MappedFile::open(path).is_err(), "{}", path.display());
        }
    }
}
