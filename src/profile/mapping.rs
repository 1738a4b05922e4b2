//! A file mapped into the process, as profile.proto's `Mapping` wants it.

use std::fmt;

use super::Address;

/// The GNU build id of a file: names the exact build, wherever it was loaded and whatever it is called.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BuildId(pub Box<[u8]>);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One executable segment of one loaded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub limit: u64,
    /// Offset in the file of the byte at `start`.
    pub file_offset: u64,
    /// The file, as an absolute path; `[vdso]` for the kernel's page.
    pub path: String,
    /// The build id, when the file has one.
    pub build_id: Option<BuildId>,
}

impl Mapping {
    /// Whether `address` lies in this segment.
    pub(crate) fn contains(&self, address: Address) -> bool {
        (self.start..self.limit).contains(&address.0)
    }

    /// Whether `other` is the same segment of the same build. Paths are not asked: a file can be renamed or deleted
    /// while it runs.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.start, self.limit, self.file_offset, &self.build_id)
            == (other.start, other.limit, other.file_offset, &other.build_id)
    }

    /// The index of the mapping that holds `address`, in `mappings` sorted by `start`.
    pub(crate) fn find(mappings: &[Mapping], address: Address) -> Option<usize> {
        let after = mappings.partition_point(|mapping| mapping.start <= address.0);
        let index = after.checked_sub(1)?;
        mappings[index].contains(address).then_some(index)
    }
}
