//! Limit and usage of the memory control group that this process is in, cgroup v1 and v2.
//!
//! Formats: `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst` of Linux, `proc_pid_mountinfo(5)`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::process_memory::{digits, unexpected};
use crate::error::{Error, Result};
use crate::profile::CgroupMemory;

/// v1 says "no limit" as the largest signed number, rounded down to pages of whatever size.
const NO_LIMIT: u64 = 1 << 62;

/// Reads the control group's memory figures again and again.
#[derive(Debug)]
pub(crate) struct CgroupReader {
    root: PathBuf,
    /// Looked up once, as a host can have thousands of mounts; empty means "look again".
    mounts: Vec<Mount>,
    group: Option<Group>,
    /// The folder in v2's hierarchy, which tells of pressure also where v1 has the memory controller.
    unified: Option<PathBuf>,
}

impl CgroupReader {
    /// Finds the group with `/proc/self` and all mount points below `root`, usually `/`.
    ///
    /// What goes wrong here goes wrong again in [`read`](Self::read), which says so.
    pub(crate) fn discover(root: &Path) -> Self {
        let mounts = read_mounts(root).unwrap_or_default();
        let (group, unified) = find_groups(root, &mounts).unwrap_or_default();
        Self { root: root.to_owned(), mounts, group, unified }
    }

    /// The figures of now; all `None` where no control group is mounted. Limits may change while the process runs,
    /// and so may the group that it is in.
    pub(crate) fn read(&mut self) -> Result<CgroupMemory> {
        if self.mounts.is_empty() {
            self.mounts = read_mounts(&self.root)?;
        }
        (self.group, self.unified) = find_groups(&self.root, &self.mounts)?;
        match &self.group {
            Some(group) => group.memory(),
            None => Ok(CgroupMemory::default()),
        }
    }

    /// Version and folder of the group that was read last.
    pub(crate) fn group(&self) -> Option<(CgroupVersion, &Path)> {
        self.group.as_ref().map(|group| (group.version, group.folder.as_path()))
    }

    /// The folder of the process in v2's hierarchy, whichever has the memory controller.
    pub(crate) fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// The file that counts the processes of the group that were killed for memory.
    pub(crate) fn oom_file(&self) -> Option<PathBuf> {
        let group = self.group.as_ref()?;
        Some(group.folder.join(match group.version {
            CgroupVersion::V1 => "memory.oom_control",
            CgroupVersion::V2 => "memory.events",
        }))
    }

    /// Which group it is, for people: `cgroup v2 at /sys/fs/cgroup/foo`, or `none`.
    pub(crate) fn describe(&self) -> String {
        let Some(group) = &self.group else {
            return "none".to_owned();
        };
        let version = match group.version {
            CgroupVersion::V1 => 1,
            CgroupVersion::V2 => 2,
        };
        format!("cgroup v{version} at {}", group.folder.display())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupVersion {
    V1,
    V2,
}

impl CgroupVersion {
    fn limit_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            // Not `memory.high`: above that the kernel slows a group down, but lets it grow.
            Self::V2 => "memory.max",
        }
    }

    fn usage_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }

    /// The line of `memory.stat` that counts page cache to drop first, of the group and those below it.
    fn inactive_file(self) -> &'static str {
        match self {
            // v1's plain `inactive_file` leaves out the groups below, which its usage includes.
            Self::V1 => "total_inactive_file",
            Self::V2 => "inactive_file",
        }
    }
}

#[derive(Debug)]
struct Group {
    version: CgroupVersion,
    folder: PathBuf,
    /// The mount point, `folder` or above it: what lies higher is not ours to see.
    top: PathBuf,
}

impl Group {
    /// The folder of the group that `/proc/self/cgroup` calls `name`; `None` without a mount of that version.
    fn locate(version: CgroupVersion, name: &[u8], mounts: &[Mount]) -> Option<Self> {
        let name = Path::new(OsStr::from_bytes(name));
        let mounts = || mounts.iter().filter(|mount| mount.version == version);
        let (mount, below) = mounts()
            .filter_map(|mount| Some((mount, mount.relative(name)?)))
            // Of several, the one that shows most of the groups above ours.
            .min_by_key(|(mount, _)| mount.group.components().count())
            // A name from outside of this cgroup namespace: all that can be seen of it is the mount.
            .or_else(|| Some((mounts().next()?, Path::new(""))))?;
        // `join` would end the path in a slash where `below` is empty.
        let folder = mount.point.components().chain(below.components()).collect();
        Some(Self { version, folder, top: mount.point.clone() })
    }

    fn memory(&self) -> Result<CgroupMemory> {
        let mut smallest: Option<(u64, &Path)> = None;
        for folder in self.folder.ancestors() {
            // Of two equal limits the upper one counts: its group uses as much or more, so is there first.
            if let Some(limit) = self.limit(folder)?
                && smallest.is_none_or(|(least, _)| limit <= least)
            {
                smallest = Some((limit, folder));
            }
            if folder == self.top {
                break;
            }
        }
        let (limit, folder) = match smallest {
            Some((limit, folder)) => (Some(limit), folder),
            None => (None, self.folder.as_path()),
        };
        Ok(CgroupMemory { limit, usage: self.usage(folder)? })
    }

    fn limit(&self, folder: &Path) -> Result<Option<u64>> {
        let path = folder.join(self.version.limit_file());
        let Some(text) = read_file(&path)? else {
            return Ok(None);
        };
        match text.trim_ascii() {
            b"max" | b"-1" => Ok(None),
            number => match digits(number) {
                Some(limit) => Ok(Some(limit).filter(|&limit| limit < NO_LIMIT)),
                None => Err(unexpected(&path, "a number of bytes or max", &text)),
            },
        }
    }

    /// Usage less the page cache to drop; `None` when one of the two cannot be told.
    fn usage(&self, folder: &Path) -> Result<Option<u64>> {
        let path = folder.join(self.version.usage_file());
        let Some(text) = read_file(&path)? else {
            return Ok(None);
        };
        let current = digits(text.trim_ascii()).ok_or_else(|| unexpected(&path, "a number of bytes", &text))?;
        let path = folder.join("memory.stat");
        let Some(text) = read_file(&path)? else {
            return Ok(None);
        };
        let key = self.version.inactive_file();
        let inactive = lines(&text)
            .filter_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b" "))
            .map(|value| digits(value.trim_ascii()))
            .next()
            .flatten()
            .ok_or_else(|| unexpected(&path, &format!("a line {key} with a number of bytes"), &text))?;
        // The two files are not of the same instant, so the difference may come out below zero.
        Ok(Some(current.saturating_sub(inactive)))
    }
}

/// The group of this process in the hierarchy that has the memory controller, and its folder in v2's.
fn find_groups(root: &Path, mounts: &[Mount]) -> Result<(Option<Group>, Option<PathBuf>)> {
    let path = root.join("proc/self/cgroup");
    let Some(text) = read_file(&path)? else {
        return Ok((None, None));
    };
    let (mut v1, mut v2) = (None, None);
    for line in lines(&text) {
        // A group's name may have colons in it.
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (Some(id), Some(controllers), Some(name @ [b'/', ..])) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(unexpected(&path, "lines of hierarchy:controllers:/group", line));
        };
        if has_word(controllers, b"memory") {
            v1 = Some(name);
        } else if id == b"0" && controllers.is_empty() {
            v2 = Some(name);
        }
    }
    let v1 = v1.and_then(|name| Group::locate(CgroupVersion::V1, name, mounts));
    let v2 = v2.and_then(|name| Group::locate(CgroupVersion::V2, name, mounts));
    let unified = v2.as_ref().map(|group| group.folder.clone());
    // v1 first: a controller is in one hierarchy only, so where v1 names `memory`, v2 has it not.
    Ok((v1.or(v2), unified))
}

/// A place where a hierarchy that can have the memory controller is mounted.
#[derive(Debug)]
struct Mount {
    version: CgroupVersion,
    /// The group that lies at the mount point.
    group: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// The way from the mount point to the group of that name; `None` when it does not lie below.
    fn relative<'n>(&self, name: &'n Path) -> Option<&'n Path> {
        let below = name.strip_prefix(&self.group).ok()?;
        below.components().all(|part| matches!(part, Component::Normal(_))).then_some(below)
    }
}

fn read_mounts(root: &Path) -> Result<Vec<Mount>> {
    let path = root.join("proc/self/mountinfo");
    let Some(text) = read_file(&path)? else {
        return Ok(Vec::new());
    };
    let mut mounts: Vec<Mount> = Vec::new();
    for line in lines(&text) {
        let (point, hierarchy) =
            parse_mount(line).ok_or_else(|| unexpected(&path, "lines as in proc_pid_mountinfo(5)", line))?;
        let point = root.join(point);
        // Whatever is mounted at the same place later hides this.
        mounts.retain(|mount| mount.point != point);
        if let Some((version, group)) = hierarchy {
            mounts.push(Mount { version, group, point });
        }
    }
    Ok(mounts)
}

/// The mount point, without its first slash, and what is there if it is a hierarchy of interest.
fn parse_mount(line: &[u8]) -> Option<(PathBuf, Option<(CgroupVersion, PathBuf)>)> {
    // Any number of optional fields stands before the separator.
    let separator = line.windows(3).position(|bytes| bytes == b" - ")?;
    let mut fields = line[..separator].split(|&byte| byte == b' ').skip(3);
    let (group, point, _options) = (fields.next()?, fields.next()?, fields.next()?);
    // Split at each single space: the source may be empty.
    let mut fields = line[separator + 3..].splitn(3, |&byte| byte == b' ');
    let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
    let version = match kind {
        b"cgroup2" => Some(CgroupVersion::V2),
        b"cgroup" if has_word(options, b"memory") => Some(CgroupVersion::V1),
        _ => None,
    };
    let hierarchy = version.map(|version| (version, unescape(group)));
    Some((unescape(point.strip_prefix(b"/")?), hierarchy))
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    loop {
        rest = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
            [] => return OsString::from_vec(bytes).into(),
        };
    }
}

fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item == word)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// The whole file; `None` where there is none or it is not ours to read: what it says is unknown then.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
    }
}

#[cfg(test)]
mod tests;
