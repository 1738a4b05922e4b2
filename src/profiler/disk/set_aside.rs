//! Files that cannot be read are put where nobody stumbles over them, with the reason.

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use super::Disk;
use crate::error::Error;
use crate::system::Folder;

/// The folder for them.
pub(super) const FOLDER: &str = "damaged";

const REASON: &str = ".reason";

/// So many are kept, each with its reason: enough to see what goes wrong, and no way to fill a disk.
const MOST: usize = 50;

/// So much of a reason is read.
const REASON_BYTES: usize = 1024;

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    pub(crate) file: String,
    /// `None` where it cannot be read.
    pub(crate) reason: Option<String>,
}

impl Disk {
    /// Sets the file `name` aside. Where that cannot be done it stays where it is, to be found again.
    pub(crate) fn set_aside(&self, folder: &Folder, name: &str, reason: &Error) {
        match set_aside(folder, name, &reason.to_string()) {
            Ok(()) => {
                self.figures.set_aside.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("heapward: {name} cannot be read and was put into {FOLDER}/: {reason}");
            }
            Err(error) => {
                tracing::warn!(
                    "heapward: {name} cannot be read ({reason}), and could not be put into {FOLDER}/: {error}"
                );
            }
        }
    }
}

fn set_aside(folder: &Folder, name: &str, reason: &str) -> io::Result<()> {
    folder.make_folder(FOLDER)?;
    folder.rename(name, &format!("{FOLDER}/{name}"))?;
    let below = folder.folder(FOLDER)?;
    let reason_name = format!("{name}{REASON}");
    // The reason is good to have, no more.
    let _ = below.remove(&reason_name);
    let _ = below.create(&reason_name).and_then(|mut file| file.write_all(reason.as_bytes()));
    remove_oldest(&below)
}

/// Names begin with a time or a number that rises.
fn remove_oldest(below: &Folder) -> io::Result<()> {
    let names = names(below)?;
    for name in names.iter().take(names.len().saturating_sub(MOST)) {
        let _ = below.remove(name);
        let _ = below.remove(&format!("{name}{REASON}"));
    }
    Ok(())
}

fn names(below: &Folder) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    below.list(|name| {
        if !name.ends_with(REASON) {
            names.push(name.to_owned());
        }
    })?;
    names.sort_unstable();
    Ok(names)
}

/// What was set aside, by this run and by those before.
pub(super) fn list(folder: &Folder) -> Vec<SetAside> {
    let Ok(below) = folder.folder(FOLDER) else { return Vec::new() };
    let reason = |name: &str| {
        let file = below.open_file(&format!("{name}{REASON}"), false).ok()?;
        let mut buffer = [0; REASON_BYTES];
        let text = file.read_at(&mut buffer, 0).ok()?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let names = names(&below).unwrap_or_default();
    names.into_iter().take(2 * MOST).map(|file| SetAside { reason: reason(&file), file }).collect()
}
