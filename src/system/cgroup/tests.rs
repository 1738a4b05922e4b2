use std::fs;

use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;

type Files<'a> = &'a [(&'a str, &'a str)];

const CGROUP: &str = "proc/self/cgroup";
const MOUNTINFO: &str = "proc/self/mountinfo";
const V2: &str = "23 1 0:22 / /sys rw shared:7 - sysfs sysfs rw\n\
    31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory\n";
const V1_CGROUP: &str = "9:name=systemd:/\n4:memory:/foo\n1:cpu:/other\n";
const V1_UNLIMITED: &str = "9223372036854771712\n";

fn tree(files: Files) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, text) in files {
        write(&root, path, text);
    }
    root
}

fn write(root: &TempDir, path: &str, text: &str) {
    let path = root.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// `description` has paths without the fixture's root.
fn check(files: Files, limit: Option<u64>, usage: Option<u64>, description: &str) {
    let root = tree(files);
    let mut reader = CgroupReader::discover(root.path());
    let describe = |reader: &CgroupReader| reader.describe().replace(root.path().to_str().unwrap(), "");
    assert_eq!(describe(&reader), description, "{files:?}");
    assert_eq!(reader.read().unwrap(), CgroupMemory { limit, usage }, "{files:?}");
    assert_eq!(describe(&reader), description, "{files:?}");
}

fn check_refused(files: Files, file: &str, words: &str) {
    let root = tree(files);
    let error = CgroupReader::discover(root.path()).read().expect_err(&format!("{files:?}"));
    assert_eq!(error.kind(), ErrorKind::Malformed, "{error}");
    let message = error.to_string();
    assert!(message.contains(&format!("/{file}: ")), "{message}");
    assert!(message.contains(words), "{message}");
}

#[test]
fn v2_limit_is_max_and_usage_is_without_inactive_cache() {
    check(
        &[
            (CGROUP, "0::/foo\n"),
            (MOUNTINFO, V2),
            ("sys/fs/cgroup/foo/memory.max", "1000\n"),
            ("sys/fs/cgroup/foo/memory.high", "500\n"),
            ("sys/fs/cgroup/foo/memory.current", "800\n"),
            ("sys/fs/cgroup/foo/memory.stat", "inactive_file_x 9\nanon 5\ninactive_file 300\n"),
        ],
        Some(1000),
        Some(500),
        "cgroup v2 at /sys/fs/cgroup/foo",
    );
}

#[test]
fn v1_limit_and_usage_include_the_groups_below() {
    check(
        &[
            (CGROUP, V1_CGROUP),
            (MOUNTINFO, V1),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_UNLIMITED),
            ("sys/fs/cgroup/memory/foo/memory.limit_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/foo/memory.usage_in_bytes", "800\n"),
            ("sys/fs/cgroup/memory/foo/memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
        ],
        Some(1000),
        Some(500),
        "cgroup v1 at /sys/fs/cgroup/memory/foo",
    );
}

#[test]
fn hybrid_uses_v1() {
    check(
        &[
            (CGROUP, "4:cpu,memory:/foo\n0::/foo\n"),
            (
                MOUNTINFO,
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                 35 31 0:32 / /sys/fs/cgroup/cpu,memory rw - cgroup cgroup rw,cpu,memory\n",
            ),
            ("sys/fs/cgroup/unified/foo/cgroup.procs", "1\n"),
            ("sys/fs/cgroup/cpu,memory/foo/memory.limit_in_bytes", "1000\n"),
        ],
        Some(1000),
        None,
        "cgroup v1 at /sys/fs/cgroup/cpu,memory/foo",
    );
}

#[test]
fn v1_without_a_memory_mount_leaves_v2() {
    check(
        &[
            (CGROUP, "4:memory:/foo\n0::/bar\n"),
            (MOUNTINFO, &format!("34 31 0:31 / /cpu rw - cgroup cgroup rw,cpu,name=memory\n{V2}")),
            ("cpu/foo/memory.limit_in_bytes", "1\n"),
        ],
        None,
        None,
        "cgroup v2 at /sys/fs/cgroup/bar",
    );
}

/// Limits of `/a/b/c`, `/a/b`, `/a` and `/`; each uses ten times its depth, of which 1 is cache.
fn check_nested(limits: [&str; 4], limit: Option<u64>, usage: Option<u64>) {
    let mut files = vec![
        (CGROUP.to_owned(), "0::/a/b/c\n".to_owned()),
        (MOUNTINFO.to_owned(), V2.to_owned()),
        // Above the mount point: no group.
        ("sys/fs/memory.max".to_owned(), "1\n".to_owned()),
    ];
    let folders = ["/a/b/c", "/a/b", "/a", ""];
    for ((folder, limit), depth) in folders.into_iter().zip(limits).zip([4, 3, 2, 1]) {
        if !limit.is_empty() {
            files.push((format!("sys/fs/cgroup{folder}/memory.max"), format!("{limit}\n")));
        }
        files.push((format!("sys/fs/cgroup{folder}/memory.current"), format!("{depth}0\n")));
        files.push((format!("sys/fs/cgroup{folder}/memory.stat"), "inactive_file 1\n".into()));
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    check(&files, limit, usage, "cgroup v2 at /sys/fs/cgroup/a/b/c");
}

#[test]
fn the_smallest_limit_on_the_way_up_wins_with_its_usage() {
    check_nested(["500", "600", "700", ""], Some(500), Some(39));
    check_nested(["500", "400", "700", ""], Some(400), Some(29));
    check_nested(["max", "400", "300", ""], Some(300), Some(19));
    check_nested(["", "max", "max", "200"], Some(200), Some(9));
    check_nested(["max", "400", "400", "max"], Some(400), Some(19));
    check_nested(["0", "400", "max", ""], Some(0), Some(39));
    check_nested(["max", "max", "max", ""], None, Some(39));
    check_nested(["", "", "", ""], None, Some(39));
    // More than any machine has, but set.
    check_nested(["4611686018427387903", "max", "max", ""], Some((1 << 62) - 1), Some(39));
}

#[test]
fn no_limit_is_unknown() {
    for text in [
        V1_UNLIMITED,
        // Pages of 64 KiB; a kernel that does not round; exactly the bound.
        "9223372036854710272\n",
        "9223372036854775807\n",
        "4611686018427387904\n",
        "18446744073709551615\n",
        "-1\n",
        "max",
    ] {
        check(
            &[
                (CGROUP, V1_CGROUP),
                (MOUNTINFO, V1),
                ("sys/fs/cgroup/memory/foo/memory.limit_in_bytes", text),
                ("sys/fs/cgroup/memory/foo/memory.usage_in_bytes", "800\n"),
                ("sys/fs/cgroup/memory/foo/memory.stat", "total_inactive_file 0\n"),
            ],
            None,
            Some(800),
            "cgroup v1 at /sys/fs/cgroup/memory/foo",
        );
    }
}

#[test]
fn more_cache_than_usage_is_zero_usage() {
    check(
        &[
            (CGROUP, "0::/\n"),
            (MOUNTINFO, V2),
            ("sys/fs/cgroup/memory.max", "1000\n"),
            ("sys/fs/cgroup/memory.current", "100\n"),
            ("sys/fs/cgroup/memory.stat", "inactive_file 300\n"),
        ],
        Some(1000),
        Some(0),
        "cgroup v2 at /sys/fs/cgroup",
    );
}

#[test]
fn absent_files_are_unknown_figures() {
    // The root group of v2 has statistics, but neither limit nor usage.
    let root = [(CGROUP, "0::/\n"), (MOUNTINFO, V2), ("sys/fs/cgroup/memory.stat", "anon 1\n")];
    check(&root, None, None, "cgroup v2 at /sys/fs/cgroup");
    let no_stat = [
        (CGROUP, "0::/\n"),
        (MOUNTINFO, V2),
        ("sys/fs/cgroup/memory.max", "1000\n"),
        ("sys/fs/cgroup/memory.current", "100\n"),
    ];
    check(&no_stat, Some(1000), None, "cgroup v2 at /sys/fs/cgroup");
}

/// Where the group `name` is, of a mount of the group `mounted` at `/cg` with limits there and below.
fn check_mount_of(mounted: &str, name: &str, limit: u64, folder: &str) {
    check(
        &[
            (CGROUP, &format!("0::{name}\n")),
            (MOUNTINFO, &format!("31 23 0:28 {mounted} /cg ro - cgroup2 cgroup2 rw\n")),
            ("cg/memory.max", "1000\n"),
            ("cg/sub/memory.max", "900\n"),
            ("cg/docker/abc/memory.max", "800\n"),
            ("docker/memory.max", "1\n"),
            ("memory.max", "1\n"),
        ],
        Some(limit),
        None,
        &format!("cgroup v2 at {folder}"),
    );
}

#[test]
fn the_group_is_relative_to_the_group_that_is_mounted() {
    check_mount_of("/", "/", 1000, "/cg");
    check_mount_of("/", "/sub", 900, "/cg/sub");
    check_mount_of("/docker/abc", "/docker/abc", 1000, "/cg");
    check_mount_of("/docker/abc", "/docker/abc/sub", 900, "/cg/sub");
    check_mount_of("/../..", "/../../sub", 900, "/cg/sub");
    check_mount_of(r"/my\040group\134", r"/my group\/sub", 900, "/cg/sub");
    check_mount_of("/a:b", "/a:b/sub", 900, "/cg/sub");
}

#[test]
fn a_group_outside_of_the_mount_is_the_mount_point() {
    check_mount_of("/docker/abc", "/", 1000, "/cg");
    check_mount_of("/docker/abc", "/docker", 1000, "/cg");
    check_mount_of("/docker/ab", "/docker/abc", 1000, "/cg");
    check_mount_of("/docker/abc", "/sub", 1000, "/cg");
    check_mount_of("/..", "/sub", 1000, "/cg");
    check_mount_of("/", "/../..", 1000, "/cg");
    check_mount_of("/", "/../docker", 1000, "/cg");
    check_mount_of("/docker/abc", "/docker/abc/../abc/sub", 1000, "/cg");
}

#[test]
fn escaped_mount_points_optional_fields_and_empty_sources_are_understood() {
    for line in [
        r"31 23 0:28 / /my\040cg\134\0119 rw shared:9 master:2 propagate_from:3 - cgroup2 none rw",
        r"31 23 0:28 / /my\040cg\134\0119 rw - cgroup2  rw",
        "40 1 0:3 / /data rw - tmpfs  rw,size=1 k\n31 23 0:28 / /my\\040cg\\134\\0119 rw - cgroup2 c rw",
    ] {
        check(
            &[(CGROUP, "0::/sub\n"), (MOUNTINFO, line), ("my cg\\\t9/sub/memory.max", "1000\n")],
            Some(1000),
            None,
            "cgroup v2 at /my cg\\\t9/sub",
        );
    }
}

#[test]
fn of_several_mounts_the_one_with_most_groups_above_ours_is_used() {
    let own = "31 23 0:28 /docker/abc /own ro - cgroup2 cgroup2 rw\n";
    let host = "32 23 0:28 / /host ro - cgroup2 cgroup2 rw\n";
    let other = "33 23 0:28 /other /other ro - cgroup2 cgroup2 rw\n";
    for mounts in [[own, host, other], [other, own, host], [host, other, own]] {
        check(
            &[
                (CGROUP, "0::/docker/abc\n"),
                (MOUNTINFO, &mounts.concat()),
                ("host/docker/memory.max", "1000\n"),
                ("own/memory.max", "2000\n"),
                ("host/docker/abc/memory.max", "2000\n"),
            ],
            Some(1000),
            None,
            "cgroup v2 at /host/docker/abc",
        );
    }
}

#[test]
fn a_mount_that_is_mounted_over_does_not_count() {
    check(
        &[
            (CGROUP, "0::/foo\n"),
            (MOUNTINFO, &format!("{V2}32 31 0:9 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n")),
            ("sys/fs/cgroup/foo/memory.max", "1000\n"),
        ],
        None,
        None,
        "none",
    );
}

#[test]
fn without_control_groups_nothing_is_known() {
    let sysfs = "23 1 0:22 / /sys rw shared:7 - sysfs sysfs rw\n";
    check(&[], None, None, "none");
    check(&[(CGROUP, ""), (MOUNTINFO, "")], None, None, "none");
    check(&[(CGROUP, "0::/foo\n"), (MOUNTINFO, sysfs)], None, None, "none");
    check(&[(CGROUP, "0::/foo\n")], None, None, "none");
    check(&[(MOUNTINFO, V2)], None, None, "none");
    check(&[(CGROUP, "9:name=systemd:/\n"), (MOUNTINFO, V2)], None, None, "none");
}

#[test]
fn malformed_proc_files_are_refused() {
    for line in ["0:/foo", "garbage", "0::", "0::foo"] {
        let words = format!("saw {line:?}");
        check_refused(&[(CGROUP, line), (MOUNTINFO, V2)], CGROUP, &words);
    }
    for line in [
        "garbage",
        "31 23 0:28 / /sys/fs/cgroup rw cgroup2 cgroup2 rw",
        "31 23 0:28 / - cgroup2 cgroup2 rw",
        "31 23 0:28 / /sys/fs/cgroup - cgroup2 cgroup2 rw",
        "31 23 0:28 / /sys/fs/cgroup rw - cgroup2",
        "31 23 0:28 / sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        " - ",
    ] {
        let words = format!("saw {line:?}");
        check_refused(&[(CGROUP, "0::/foo\n"), (MOUNTINFO, line)], MOUNTINFO, &words);
    }
}

#[test]
fn malformed_figures_are_refused() {
    let good = [
        ("sys/fs/cgroup/foo/memory.max", "1000\n"),
        ("sys/fs/cgroup/foo/memory.current", "800\n"),
        ("sys/fs/cgroup/foo/memory.stat", "inactive_file 300\n"),
    ];
    for (at, bad) in [
        (0, ""),
        (0, "maximum\n"),
        (0, "-2\n"),
        (0, "+5\n"),
        (0, "10 00\n"),
        (0, "1e3\n"),
        (1, ""),
        (1, "max\n"),
        (1, "-1\n"),
        (2, ""),
        (2, "anon 5\n"),
        (2, "inactive_file\n"),
        (2, "inactive_file x\n"),
    ] {
        let mut files = vec![(CGROUP, "0::/foo\n"), (MOUNTINFO, V2)];
        files.extend(good);
        files[at + 2].1 = bad;
        check_refused(&files, good[at].0, &format!("saw {bad:?}"));
    }
    // v1's statistics have both lines: the plain one will not do.
    check_refused(
        &[
            (CGROUP, V1_CGROUP),
            (MOUNTINFO, V1),
            ("sys/fs/cgroup/memory/foo/memory.usage_in_bytes", "800\n"),
            ("sys/fs/cgroup/memory/foo/memory.stat", "inactive_file 300\n"),
        ],
        "sys/fs/cgroup/memory/foo/memory.stat",
        "total_inactive_file",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_io_error() {
    let root = tree(&[(CGROUP, "0::/foo\n"), (MOUNTINFO, V2), ("sys/fs/cgroup/foo/memory.max/a-folder", "")]);
    let error = CgroupReader::discover(root.path()).read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("foo/memory.max: "), "{error}");
}

#[test]
fn each_reading_sees_the_limit_and_the_group_of_then() {
    let root = tree(&[
        (CGROUP, "0::/foo\n"),
        (MOUNTINFO, "not yet"),
        ("sys/fs/cgroup/foo/memory.max", "1000\n"),
        ("sys/fs/cgroup/bar/memory.max", "3000\n"),
    ]);
    let mut reader = CgroupReader::discover(root.path());
    assert_eq!(reader.describe(), "none");
    reader.read().unwrap_err();
    write(&root, MOUNTINFO, V2);
    assert_eq!(reader.read().unwrap().limit, Some(1000));
    write(&root, "sys/fs/cgroup/foo/memory.max", "2000\n");
    assert_eq!(reader.read().unwrap().limit, Some(2000));
    write(&root, "sys/fs/cgroup/foo/memory.max", "?\n");
    reader.read().unwrap_err();
    write(&root, "sys/fs/cgroup/foo/memory.max", "max\n");
    assert_eq!(reader.read().unwrap().limit, None);
    write(&root, CGROUP, "0::/bar\n");
    assert_eq!(reader.read().unwrap().limit, Some(3000));
    assert!(reader.describe().ends_with("/sys/fs/cgroup/bar"), "{}", reader.describe());
}

#[test]
fn this_machine_can_be_read() {
    let mut reader = CgroupReader::discover(Path::new("/"));
    let memory = reader.read().unwrap();
    if reader.describe() == "none" {
        assert_eq!(memory, CgroupMemory::default());
    }
}
