//! What some tests need of the machine, and what they say where it is not there.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that a test was skipped, and why. Past the test harness, which keeps what a test that passes prints to itself:
/// `.ci/run` looks for this line and repeats it at its end.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {test}: {why}");
}

/// Whether this process is root's.
pub fn root() -> Result<(), String> {
    let user = std::fs::metadata("/proc/self").map_err(|error| format!("/proc/self: {error}"))?.uid();
    if user == 0 { Ok(()) } else { Err(format!("it needs root, and this is user {user}")) }
}

/// Whether filesystems can be mounted: root in a container may be forbidden to.
pub fn mounting(below: &Path) -> Result<(), String> {
    root()?;
    let folder = below.join("tried");
    std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&folder).output();
    let mounted = mounted.map_err(|error| format!("it needs mount(8): {error}"))?;
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr);
        return Err(format!("root may not mount here: {}", why.trim()));
    }
    let taken = Command::new("umount").arg("--lazy").arg(&folder).status();
    assert!(taken.is_ok_and(|status| status.success()), "{} is still mounted", folder.display());
    Ok(())
}

/// The folder of this process's memory group of cgroup v1, where root may make groups below it.
pub fn memory_group() -> Result<PathBuf, String> {
    root()?;
    let of_memory = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let names = fields.nth(1)?.split(',').any(|name| name == "memory");
        names.then(|| fields.next().map(str::to_owned))?
    };
    let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let Some(own) = groups.lines().find_map(of_memory) else {
        return Err("it needs cgroup v1 with a memory controller, and there is none in /proc/self/cgroup".to_owned());
    };
    let parent = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/'));
    let tried = parent.join(format!("heapward-tried-{}", std::process::id()));
    let made = std::fs::create_dir(&tried).and_then(|()| std::fs::remove_dir(&tried));
    made.map_err(|error| format!("root may not make a memory group: {}: {error}", tried.display()))?;
    Ok(parent)
}
