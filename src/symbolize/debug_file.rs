//! Where the debug information of a stripped file is. Source: "Debugging Information in Separate Files" of GDB's manual.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::elf::Elf;
use crate::profile::BuildId;
use crate::system::MappedFile;

/// Up to this size a file is read as a whole to check it against the link's checksum, where there is no build id.
const CHECKSUM_BYTES: usize = 16 << 20;

/// The separate debug file of `elf`, which was read from `path`: by build id in the `folders`, or the one that its link
/// names. Another build's is never taken.
pub(super) fn find(
    elf: &Elf<'_>,
    path: &Path,
    build_id: Option<&BuildId>,
    folders: &[PathBuf],
    opened: &mut usize,
) -> Option<MappedFile> {
    let link = elf.debug_link();
    let by_id =
        build_id.and_then(below_build_id).into_iter().flat_map(|below| folders.iter().map(move |f| f.join(&below)));
    let by_link = link.into_iter().flat_map(|(name, _)| by_link(OsStr::from_bytes(name), path, folders));
    by_id.chain(by_link).find_map(|candidate| {
        let file = MappedFile::open(&candidate).ok()?;
        *opened += 1;
        is_of(&file, build_id, link.map(|(_, crc)| crc)).then_some(file)
    })
}

/// `.build-id/ab/cdef….debug`.
fn below_build_id(id: &BuildId) -> Option<PathBuf> {
    let id = id.to_string();
    let (first, rest) = id.split_at_checked(2)?;
    Some(Path::new(".build-id").join(first).join(format!("{rest}.debug")))
}

/// Next to the file, in `.debug` next to it, and below each of the folders as if that were the root.
fn by_link(name: &OsStr, path: &Path, folders: &[PathBuf]) -> Vec<PathBuf> {
    // A name alone: it comes from the file.
    let (Some(parent), Some(name)) = (path.parent(), Path::new(name).file_name()) else { return Vec::new() };
    let below = parent.strip_prefix("/").unwrap_or(parent);
    let mut candidates = vec![parent.join(name), parent.join(".debug").join(name)];
    candidates.extend(folders.iter().map(|folder| folder.join(below).join(name)));
    // The file itself has no debug information, whatever it says.
    candidates.retain(|candidate| candidate != path);
    candidates
}

fn is_of(file: &MappedFile, build_id: Option<&BuildId>, crc: Option<u32>) -> bool {
    let Some(elf) = Elf::parse(file) else { return false };
    match (build_id, elf.build_id(), crc) {
        (Some(wanted), Some(found), _) => *wanted == found,
        (None, None, Some(wanted)) if file.len() <= CHECKSUM_BYTES => {
            let mut crc = flate2::Crc::new();
            crc.update(file);
            crc.sum() == wanted
        }
        _ => false,
    }
}
