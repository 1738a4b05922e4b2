//! A memory group of cgroup v1.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A memory group of a test's own, which is gone with it.
pub struct Group {
    pub folder: PathBuf,
}

impl Group {
    /// One that may hold `limit` bytes, below `parent`.
    pub fn make(parent: &Path, limit: u64) -> Self {
        let folder = parent.join(format!("heapward-test-{}-{limit}", std::process::id()));
        std::fs::create_dir(&folder).expect("root may make a memory group");
        let group = Self { folder };
        std::fs::write(group.folder.join("memory.limit_in_bytes"), limit.to_string()).unwrap();
        group
    }

    /// What one of its files says.
    pub fn bytes(&self, file: &str) -> u64 {
        std::fs::read_to_string(self.folder.join(file)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel takes a moment to let go of a process that it killed.
        for _ in 0..200 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} could not be removed", self.folder.display());
    }
}
