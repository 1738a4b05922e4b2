//! The folder for snapshots on disk.

use std::path::Path;

use crate::error::{Error, Result};
use crate::profiler::ProfilesDir;

/// Makes the folder that somebody named and tries whether it can be written to.
pub(super) fn prepare(folder: &ProfilesDir) -> Result<()> {
    let ProfilesDir::Named(path) = folder else { return Ok(()) };
    try_folder(path).map_err(|error| {
        Error::io(
            format!(
                "profiles_dir (HEAPWARD_PROFILES_DIR) is {}, which cannot be written to: name a folder that this user may write \
                 to, or `off`",
                path.display()
            ),
            error,
        )
    })
}

fn try_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "it is a symbolic link, and none is followed",
        ));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let probe = path.join(format!(".heapward-probe-{}", std::process::id()));
    match std::fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        // Left by a run that was killed just here, or another's that is just here: it could be written.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        opened => drop(opened?),
    }
    match std::fs::remove_file(&probe) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
