//! What the control group of a run that was killed tells the next run, by files as the kernel lays them out.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::survey::traces;
use crate::policy::{Certainty, EndOfRun, How};
use crate::snapshot::{RunFacts, RunId, RunRecord, RunState};
use crate::system::{CgroupReader, OomCounter, boot_id};

/// One version's files, and the text of the one that counts.
struct Layout {
    cgroup: &'static str,
    mountinfo: &'static str,
    /// That the group is known by.
    limit: &'static str,
    counter: &'static str,
    text: fn(u64) -> String,
}

const V2: Layout = Layout {
    cgroup: "0::/foo\n",
    mountinfo: "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    limit: "sys/fs/cgroup/foo/memory.max",
    counter: "sys/fs/cgroup/foo/memory.events",
    text: |kills| format!("low 0\nhigh 0\nmax 812\noom {kills}\noom_kill {kills}\noom_group_kill 0\n"),
};

const V1: Layout = Layout {
    cgroup: "4:memory:/foo\n1:cpu:/other\n",
    mountinfo: "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory\n",
    limit: "sys/fs/cgroup/memory/foo/memory.limit_in_bytes",
    counter: "sys/fs/cgroup/memory/foo/memory.oom_control",
    text: |kills| format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"),
};

impl Layout {
    fn make(&self, kills: u64) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/self/cgroup", self.cgroup);
        write(root.path(), "proc/self/mountinfo", self.mountinfo);
        write(root.path(), self.limit, "1000000\n");
        write(root.path(), self.counter, &(self.text)(kills));
        root
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What a run leaves that was in the group below `root` and ended without a word.
fn left_by_a_run(root: &Path) -> RunState {
    let counter = CgroupReader::discover(root).oom_file().and_then(|path| OomCounter::open(&path)).unwrap();
    let facts = RunFacts {
        run: RunId { number: 1, random: 2 },
        started: SystemTime::UNIX_EPOCH,
        started_since_boot: Duration::ZERO,
        // The kernel's log has none of that number.
        pid: u32::MAX,
        boot_id: boot_id(),
        program: String::new(),
        build_id: None,
        version: String::new(),
        oom_file: counter.path().to_str().unwrap().to_owned(),
        oom_file_number: counter.number(),
    };
    let record = RunRecord {
        number: 1,
        time: SystemTime::UNIX_EPOCH,
        reading: None,
        last_snapshot: 0,
        last_written: 0,
        oom_kills: counter.read(),
        said: None,
    };
    RunState { facts, record: Some(record), end: None, readings: Vec::new(), episodes: Vec::new() }
}

#[track_caller]
fn check(state: &RunState, kills: Option<(u64, u64)>, how: How, certainty: Certainty, why: &str) {
    let traces = traces(state);
    assert_eq!(traces.group_kills, kills);
    let end = EndOfRun::of(&traces);
    assert_eq!((end.how, end.certainty), (how, certainty), "{}", end.why);
    assert!(end.why.contains(why), "{}", end.why);
}

#[test]
fn a_kill_that_the_group_counted_since_the_last_record_ended_the_run() {
    for layout in [V2, V1] {
        let root = layout.make(3);
        let state = left_by_a_run(root.path());
        assert_eq!(state.record.unwrap().oom_kills, Some(3));
        let nothing = "nothing of its control group was killed for memory since its last record";
        check(&state, Some((3, 3)), How::NotClean, Certainty::Sure, nothing);
        write(root.path(), layout.counter, &(layout.text)(4));
        let one = "one process of its control group was killed for memory";
        check(&state, Some((3, 4)), How::KilledForMemory, Certainty::Likely, one);
        write(root.path(), layout.counter, &(layout.text)(9));
        let six = "6 processes of its control group were killed for memory";
        check(&state, Some((3, 9)), How::KilledForMemory, Certainty::Likely, six);

        // It said that it ended, whoever was killed later.
        let mut clean = state.clone();
        clean.record.as_mut().unwrap().said = Some(How::Clean);
        check(&clean, None, How::Clean, Certainty::Sure, "shut down");
    }
}

#[test]
fn another_group_of_that_name_tells_nothing_of_the_run() {
    for layout in [V2, V1] {
        let root = layout.make(0);
        let state = left_by_a_run(root.path());
        // Made anew, as a container's is: the first file is kept, so that its number is not given again.
        let path = root.path().join(layout.counter);
        fs::rename(&path, root.path().join("before")).unwrap();
        let unknown = "its control group is gone or does not count";
        check(&state, None, How::NotClean, Certainty::Sure, unknown);
        write(root.path(), layout.counter, &(layout.text)(7));
        check(&state, None, How::NotClean, Certainty::Sure, unknown);
        // A kernel that does not count, and a run without a group.
        fs::rename(root.path().join("before"), &path).unwrap();
        fs::write(&path, "oom_kill_disable 0\n").unwrap();
        check(&state, None, How::NotClean, Certainty::Sure, unknown);
        let mut without = state.clone();
        without.facts.oom_file = String::new();
        check(&without, None, How::NotClean, Certainty::Sure, unknown);
    }
}
