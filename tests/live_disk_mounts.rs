//! Filesystems that are full, or that nobody may write to, mounted over the folder that a service writes to.

mod common_disk;
mod common_http;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common_disk::{SHORT, disk, get, needs, writing_to};
use common_http::wait_for;
use heapward::{ByteSize, Profiler};

heapward::install!("lg_prof_sample:12");

#[test]
#[ignore = "needs root and mount(8); is skipped with a word without"]
fn real_filesystems_fail_and_work_again() {
    let below = tempfile::tempdir().unwrap();
    if let Err(why) = needs::mounting(below.path()) {
        return needs::skip("real_filesystems_fail_and_work_again", &why);
    }
    // Full: 64 KiB hold some snapshots and not many.
    fails(below.path(), "full", &["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"], "No space left on device");
    fails(below.path(), "denied", &["--bind", "/sys/kernel"], "Permission denied");
    fails(below.path(), "readonly", &["-t", "tmpfs", "-o", "ro", "tmpfs"], "Read-only file system");
}

/// A mount that is taken away again, whatever happens.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "{} is still mounted", self.0.display());
    }
}

fn fails(below: &Path, what: &str, mount: &[&str], expect: &str) {
    let folder = below.join(what);
    let profiler = writing_to(&folder)
        .rss_threshold(ByteSize::bytes(1))
        .min_interval(SHORT)
        .poll_interval(Duration::from_millis(10))
        .profiles_count(100_000)
        .start()
        .unwrap();
    wait_for("writes", || (disk(&profiler, "writes") >= 2).then_some(()));
    let mounted = Mounted(folder.clone());
    assert!(Command::new("mount").args(mount).arg(&folder).status().unwrap().success(), "{what}");
    let error = wait_for("the failure", || {
        let disk = get(&profiler, "/api/memory")["disk"].take();
        (disk["failing"] == true).then(|| disk["error"].as_str().unwrap().to_owned())
    });
    println!("{error}");
    assert!(error.contains(expect), "{error}");
    let latest = |profiler: &Profiler| profiler.snapshots().last().unwrap().id;
    let before = latest(&profiler);
    wait_for("the ring to go on", || (latest(&profiler) > before + 5).then_some(()));
    let written = disk(&profiler, "writes");
    drop(mounted);
    wait_for("writing again", || (disk(&profiler, "writes") > written).then_some(()));
    assert_eq!(get(&profiler, "/api/memory")["disk"]["failing"], false);
    profiler.shutdown();
}
