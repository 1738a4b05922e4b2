//! Files that cannot be read are put where nobody stumbles over them, with the reason.

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use super::Disk;
use crate::error::Error;
use crate::system::Folder;

/// The folder for them.
pub(super) const FOLDER: &str = "damaged";

const REASON: &str = ".reason";

/// So many are kept, each with its reason, and so many bytes of them: enough to see what goes wrong, and no way to fill a disk.
const MOST: usize = 50;
const MOST_BYTES: u64 = 64 << 20;

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
            Ok(removed) => {
                self.figures.set_aside.fetch_add(1, Ordering::Relaxed);
                self.figures.set_aside_removed.fetch_add(removed, Ordering::Relaxed);
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

/// Returns how many had to go for it.
fn set_aside(folder: &Folder, name: &str, reason: &str) -> io::Result<u64> {
    folder.make_folder(FOLDER)?;
    folder.rename(name, &format!("{FOLDER}/{name}"))?;
    let below = folder.folder(FOLDER)?;
    let reason_name = format!("{name}{REASON}");
    // The reason is good to have, no more.
    let _ = below.remove(&reason_name);
    let _ = below.create(&reason_name).and_then(|mut file| file.write_all(reason.as_bytes()));
    // It is set aside whether they can be listed or not.
    Ok(remove_oldest(&below, MOST_BYTES).unwrap_or(0))
}

/// Names begin with a time or a number that rises. The newest stays whatever it takes.
fn remove_oldest(below: &Folder, most_bytes: u64) -> io::Result<u64> {
    let names = names(below)?;
    let mut bytes = 0u64;
    let fits = |(at, name): (usize, &String)| {
        bytes = bytes.saturating_add(below.size_and_age(name).map_or(0, |(bytes, _)| bytes));
        at == 0 || (at < MOST && bytes <= most_bytes)
    };
    let kept = names.iter().rev().enumerate().map(fits).take_while(|fits| *fits).count();
    let mut removed = 0;
    for name in names.iter().take(names.len() - kept) {
        removed += u64::from(below.remove(name).is_ok());
        let _ = below.remove(&format!("{name}{REASON}"));
    }
    Ok(removed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_of_what_was_set_aside_is_counted() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        let name = |number: usize| format!("{number:03}");
        let removed: u64 = (0..MOST + 3)
            .map(|number| {
                folder.create(&name(number)).unwrap().write_all(&[1; 10]).unwrap();
                set_aside(&folder, &name(number), "why").unwrap()
            })
            .sum();
        let listed = list(&folder);
        assert_eq!((removed, listed.len()), (3, MOST));
        assert_eq!(listed[0], SetAside { file: name(3), reason: Some("why".to_owned()) });
        let damaged = folder.folder(FOLDER).unwrap();
        let mut files = 0;
        damaged.list(|_| files += 1).unwrap();
        assert_eq!(files, 2 * MOST, "and their reasons");
        // By their bytes; the newest stays.
        assert_eq!(remove_oldest(&damaged, 45).unwrap(), MOST as u64 - 4);
        assert_eq!(remove_oldest(&damaged, 5).unwrap(), 3);
        assert_eq!(list(&folder)[0].file, name(MOST + 2));
    }
}
