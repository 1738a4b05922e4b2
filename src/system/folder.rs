//! A folder that files are written to whole, or not at all. No symbolic link is followed in it, nor is it one itself.
//!
//! Names are relative to the open folder, so that whatever is put under its path meanwhile is not written to by mistake.
//! Nothing here allocates but opening the folder and listing it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, SeekFrom, fcntl_lock, fstat, fsync, mkdirat, openat,
    renameat, seek, statat, unlinkat,
};
use rustix::io::{Errno, pread, pwrite, write};

/// For us alone.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
    /// Device and number, by which it is known again.
    identity: (u64, u64),
}

/// An open file of a [`Folder`].
#[derive(Debug)]
pub(crate) struct FolderFile {
    descriptor: OwnedFd,
}

impl Folder {
    /// Opens the folder at `path`, which must be there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let descriptor = retry(|| openat(CWD, path, flags, Mode::empty()))?;
        let stat = fstat(&descriptor)?;
        Ok(Self { descriptor, path: path.to_owned(), identity: (stat.st_dev, stat.st_ino) })
    }

    /// The same, and makes it where there is none.
    pub(crate) fn open_or_make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// Whether its path still leads to it.
    pub(crate) fn is_in_place(&self) -> bool {
        let stat = statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity)
    }

    /// Makes a new file, which nobody else may read. One of that name must not be there.
    pub(crate) fn create(&self, name: &str) -> io::Result<FolderFile> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDWR;
        let descriptor = retry(|| openat(&self.descriptor, name, flags, FILE_MODE))?;
        Ok(FolderFile { descriptor })
    }

    /// Opens a regular file, to be read, or to be written to as well.
    pub(crate) fn open_file(&self, name: &str, is_written: bool) -> io::Result<FolderFile> {
        let access = if is_written { OFlags::RDWR } else { OFlags::RDONLY };
        // To open a pipe must not wait for its writer.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = retry(|| openat(&self.descriptor, name, flags, Mode::empty()))?;
        let is_file = FileType::from_raw_mode(fstat(&descriptor)?.st_mode) == FileType::RegularFile;
        if is_file { Ok(FolderFile { descriptor }) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Gives a file another name, also below a folder of this one; whatever has that name is replaced.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(retry(|| renameat(&self.descriptor, from, &self.descriptor, to))?)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(retry(|| unlinkat(&self.descriptor, name, AtFlags::empty()))?)
    }

    /// Makes a folder in it, if there is none.
    pub(crate) fn make_folder(&self, name: &str) -> io::Result<()> {
        match mkdirat(&self.descriptor, name, Mode::from_raw_mode(FOLDER_MODE)) {
            Err(error) if error != Errno::EXIST => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A folder of it.
    pub(crate) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let descriptor = retry(|| openat(&self.descriptor, name, flags, Mode::empty()))?;
        let stat = fstat(&descriptor)?;
        Ok(Self { descriptor, path: self.path.join(name), identity: (stat.st_dev, stat.st_ino) })
    }

    /// Bytes and age of a file; the age by its last change, zero where that is in the future.
    pub(crate) fn size_and_age(&self, name: &str) -> io::Result<(u64, std::time::Duration)> {
        let stat = statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let changed = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        let age = std::time::SystemTime::now().duration_since(changed).unwrap_or_default();
        Ok((u64::try_from(stat.st_size).unwrap_or(0), age))
    }

    /// Puts the names in it on the disk. Some filesystems cannot, and need not.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match retry(|| fsync(&self.descriptor)) {
            Err(error) if error != Errno::INVAL => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Calls `each` with every name that is text.
    pub(crate) fn list(&self, mut each: impl FnMut(&str)) -> io::Result<()> {
        for entry in Dir::read_from(&self.descriptor)? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                each(name);
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl FolderFile {
    /// Puts what was written on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(retry(|| fsync(&self.descriptor))?)
    }

    /// Whether the file is this process's alone from now on, until it is closed here or the process ends. A forked child has
    /// no part in that, which it had with flock(2).
    pub(crate) fn lock(&self) -> bool {
        retry(|| fcntl_lock(self.descriptor.as_fd(), FlockOperation::NonBlockingLockExclusive)).is_ok()
    }

    /// Whether another process has it locked. Takes no lock for that: two who ask at once see each other's question as nothing.
    ///
    /// # Errors
    ///
    /// Where locks are not known, as on a network filesystem without them.
    pub(crate) fn is_locked(&self) -> io::Result<bool> {
        // SAFETY: all zeros is a lock's description: of the whole file, as whence, start and length of zero say.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        // A lock of that kind would meet any other.
        lock.l_type = libc::F_WRLCK as libc::c_short;
        loop {
            // SAFETY: the descriptor is open for as long as `self` lives, and F_GETLK writes into `lock` alone.
            if unsafe { libc::fcntl(self.descriptor.as_raw_fd(), libc::F_GETLK, &mut lock) } == 0 {
                return Ok(i32::from(lock.l_type) != libc::F_UNLCK);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // Some answer so where somebody has it.
                Some(libc::EAGAIN | libc::EACCES) => return Ok(true),
                _ => return Err(error),
            }
        }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(fstat(&self.descriptor)?.st_size).unwrap_or(0))
    }

    /// Reads as much of `buffer` as the file has there, from `offset` on.
    pub(crate) fn read_at<'b>(&self, buffer: &'b mut [u8], offset: u64) -> io::Result<&'b [u8]> {
        let mut filled = 0;
        while filled < buffer.len() {
            match retry(|| pread(&self.descriptor, &mut buffer[filled..], offset + filled as u64))? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(&buffer[..filled])
    }

    pub(crate) fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match retry(|| pwrite(&self.descriptor, bytes, offset))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
            }
        }
        Ok(())
    }

    /// All of it, if it is at most `most` bytes.
    pub(crate) fn read_all(self, most: u64) -> io::Result<Vec<u8>> {
        let len = self.len()?;
        if len > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        seek(&self.descriptor, SeekFrom::Start(0))?;
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        // No more than it was: it may grow meanwhile.
        File::from(self.descriptor).take(len).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Write for FolderFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retry(|| write(&self.descriptor, bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A system call that a signal interrupted is made again.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn files_are_for_the_owner_alone_and_no_link_is_followed() {
        let below = tempfile::tempdir().unwrap();
        let path = below.path().join("a/b");
        assert_eq!(Folder::open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let folder = Folder::open_or_make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        folder.create("file").unwrap().write_all(b"text").unwrap();
        assert_eq!(path.join("file").metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(folder.create("file").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(folder.open_file("file", false).unwrap().read_all(4).unwrap(), b"text");
        assert_eq!(
            folder.open_file("file", false).unwrap().read_all(3).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );

        let victim = below.path().join("victim");
        std::fs::write(&victim, "mine").unwrap();
        symlink(&victim, path.join("link")).unwrap();
        assert!(folder.create("link").is_err());
        assert!(folder.open_file("link", true).is_err());
        assert!(folder.size_and_age("link").is_err());
        symlink(&path, below.path().join("folder")).unwrap();
        assert!(Folder::open(&below.path().join("folder")).is_err());
        assert!(Folder::open_or_make(&below.path().join("folder")).is_err());
        symlink(below.path(), path.join("out")).unwrap();
        assert!(folder.folder("out").is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_knows_when_another_is_at_its_place() {
        let below = tempfile::tempdir().unwrap();
        let path = below.path().join("folder");
        let folder = Folder::open_or_make(&path).unwrap();
        assert!(folder.is_in_place());
        std::fs::rename(&path, below.path().join("away")).unwrap();
        assert!(!folder.is_in_place());
        std::fs::create_dir(&path).unwrap();
        assert!(!folder.is_in_place());
        folder.create("file").unwrap();
        assert!(below.path().join("away/file").exists() && !path.join("file").exists());
    }

    /// Locks are those of processes, so somebody else is a child. It allocates nothing and calls nothing but the system.
    #[test]
    fn asking_whether_somebody_has_a_file_locked_locks_nothing() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        let file = folder.create("file").unwrap();
        assert!(!file.is_locked().unwrap());
        // Reading is enough.
        assert!(!folder.open_file("file", false).unwrap().is_locked().unwrap());
        let is_locked_elsewhere = |file: &FolderFile| {
            // SAFETY: the child makes two system calls.
            match unsafe { libc::fork() } {
                0 => {
                    let code = file.is_locked().map_or(2, i32::from);
                    // SAFETY: ends this process and nothing else.
                    unsafe { libc::_exit(code) }
                }
                child => {
                    let mut status = 0;
                    // SAFETY: waits for the child of above, which is there until then.
                    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                    assert!(libc::WIFEXITED(status));
                    libc::WEXITSTATUS(status)
                }
            }
        };
        // This process asked, and holds nothing.
        assert_eq!(is_locked_elsewhere(&file), 0);
        assert!(file.lock());
        assert_eq!(is_locked_elsewhere(&file), 1);
        // Its own lock is nothing to itself.
        assert!(!file.is_locked().unwrap());
        drop(file);
        let file = folder.open_file("file", false).unwrap();
        assert_eq!(is_locked_elsewhere(&file), 0);
    }

    /// Opening either for reading would wait for somebody who writes.
    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        rustix::fs::mkfifoat(&folder.descriptor, "pipe", FILE_MODE).unwrap();
        folder.make_folder("folder").unwrap();
        for name in ["pipe", "folder"] {
            for is_written in [false, true] {
                assert!(folder.open_file(name, is_written).is_err(), "{name}");
            }
            assert!(folder.size_and_age(name).is_err(), "{name}");
        }
    }

    #[test]
    fn parts_are_read_and_written_where_they_are() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        let file = folder.create("file").unwrap();
        file.write_at(b"0123456789", 0).unwrap();
        file.write_at(b"abc", 4).unwrap();
        assert_eq!(file.read_at(&mut [0; 5], 3).unwrap(), b"3abc7");
        assert_eq!(file.read_at(&mut [0; 99], 8).unwrap(), b"89");
        assert!(file.lock());
        folder.make_folder("sub").unwrap();
        folder.make_folder("sub").unwrap();
        folder.rename("file", "sub/other").unwrap();
        let mut names = Vec::new();
        folder.list(|name| names.push(name.to_owned())).unwrap();
        assert_eq!(names, ["sub"]);
        assert_eq!(folder.folder("sub").unwrap().size_and_age("other").unwrap().0, 10);
        folder.sync().unwrap();
    }
}
