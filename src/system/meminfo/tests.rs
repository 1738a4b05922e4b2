//! `meminfo` of several kernels, and what psutil makes of it.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;

/// Of Linux 6.18, the first lines and some that others could be taken for.
const USUAL: &str = "\
MemTotal:       24684084 kB
MemFree:         8319000 kB
MemAvailable:   23492392 kB
Buffers:           43568 kB
Cached:         14789724 kB
SwapCached:            7 kB
Active:          1956872 kB
Inactive:       13435300 kB
Active(anon):       1580 kB
Inactive(anon):   566500 kB
Active(file):    1955292 kB
Inactive(file): 12868800 kB
SwapTotal:       2097148 kB
SwapFree:        1048574 kB
ShadowCallStack:10373888 kB
Shmem:              8872 kB
KReclaimable:     732296 kB
Slab:             815192 kB
SReclaimable:     732296 kB
SUnreclaim:        82896 kB
ShmemHugePages:        0 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
";

const KIB: u64 = 1024;

fn folder(meminfo: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("meminfo"), meminfo).unwrap();
    folder
}

fn reader(folder: &TempDir) -> SystemMemoryReader {
    SystemMemoryReader { page_size: 4096, ..SystemMemoryReader::new(folder.path()) }
}

fn read(meminfo: &str) -> Result<SystemMemory> {
    reader(&folder(meminfo)).read()
}

fn without(names: &[&str]) -> String {
    let wanted = |line: &&str| !names.iter().any(|name| line.starts_with(&format!("{name}:")));
    USUAL.split_inclusive('\n').filter(wanted).collect()
}

#[test]
fn figures_mean_what_they_mean_in_psutil() {
    let memory = read(USUAL).unwrap();
    let expect = SystemMemory {
        total: 24_684_084 * KIB,
        free: 8_319_000 * KIB,
        available: Some(23_492_392 * KIB),
        active: Some(1_956_872 * KIB),
        inactive: Some(13_435_300 * KIB),
        buffers: Some(43_568 * KIB),
        cached: Some((14_789_724 + 732_296) * KIB),
        shared: Some(8_872 * KIB),
        slab: Some(815_192 * KIB),
        swap_total: Some(2_097_148 * KIB),
        swap_free: Some(1_048_574 * KIB),
    };
    assert_eq!(memory, expect);
    // psutil 7.1: total - available. Before that it was total - free - cached - buffers, 799,496 KiB here.
    assert_eq!(memory.used(), Some(1_191_692 * KIB));
    assert_eq!(format!("{:.1}", 100.0 * memory.used_ratio().unwrap()), "4.8");
    assert_eq!((memory.swap_used(), memory.swap_used_ratio()), (Some(1_048_574 * KIB), Some(0.5)));
}

#[test]
fn what_the_kernel_does_not_tell_is_unknown() {
    let memory = read("MemTotal: 100 kB\nMemFree: 40 kB\n").unwrap();
    assert_eq!(memory, SystemMemory { total: 100 * KIB, free: 40 * KIB, ..SystemMemory::default() });
    assert_eq!((memory.used(), memory.used_ratio()), (None, None));
    assert_eq!((memory.swap_used(), memory.swap_used_ratio()), (None, None));
    type Of = fn(&SystemMemory) -> Option<u64>;
    let fields: [(&str, Of); 8] = [
        ("Active", |memory| memory.active),
        ("Inactive", |memory| memory.inactive),
        ("Buffers", |memory| memory.buffers),
        ("Cached", |memory| memory.cached),
        ("Shmem", |memory| memory.shared),
        ("Slab", |memory| memory.slab),
        ("SwapTotal", |memory| memory.swap_used()),
        ("SwapFree", |memory| memory.swap_used()),
    ];
    for (name, field) in fields {
        let missing = read(&without(&[name])).unwrap();
        assert_eq!(field(&missing), None, "{name}");
        assert_eq!(
            fields.iter().filter(|(_, field)| field(&missing).is_none()).count(),
            1 + usize::from(name.starts_with("Swap"))
        );
    }
    let memory = read(&without(&["SReclaimable"])).unwrap();
    assert_eq!(memory.cached, Some(14_789_724 * KIB), "kernels before 2.6.19");
}

#[test]
fn no_swap_is_none_used() {
    let memory = read("MemTotal: 100 kB\nMemFree: 40 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n").unwrap();
    assert_eq!((memory.swap_total, memory.swap_used(), memory.swap_used_ratio()), (Some(0), Some(0), Some(0.0)));
}

#[test]
fn what_is_available_is_estimated_where_the_kernel_does_not() {
    // The example of psutil's own tests: kernels before 3.14, without zoneinfo.
    let old = "Active: 9444728 kB\nActive(file): 2950064 kB\nBuffers: 287952 kB\nCached: 4818144 kB\n\
               Inactive(file): 1567648 kB\nMemFree: 2057400 kB\nMemTotal: 16325648 kB\nSReclaimable: 346648 kB\n";
    assert_eq!(read(old).unwrap().available, Some((2_057_400 + 4_818_144) * KIB));
    let rough = read(&without(&["MemAvailable", "Active(file)"])).unwrap();
    assert_eq!(rough.available, Some((8_319_000 + 14_789_724) * KIB));
    // Low watermarks of 1000 + 2000 pages are 12,000 KiB.
    let zoneinfo = "Node 0, zone DMA\n  pages free 3840\n        min      800\n        low      1000\n\
                    Node 0, zone Normal\n        low      2000\n        high     3000\n  pagesets\n    high:  14\n";
    let estimated = 2_057_400 - 12_000 + (2_950_064 + 1_567_648 - 12_000) + (346_648 - 12_000);
    for meminfo in [old.to_owned(), format!("{old}MemAvailable: 0 kB\n")] {
        let folder = folder(&meminfo);
        fs::write(folder.path().join("zoneinfo"), zoneinfo).unwrap();
        assert_eq!(reader(&folder).read().unwrap().available, Some(estimated * KIB), "{meminfo}");
        // Half of what can be taken back is the most that is kept of it, and there is no less than nothing.
        fs::write(folder.path().join("zoneinfo"), "low 100000000\n").unwrap();
        assert_eq!(reader(&folder).read().unwrap().available, Some(0));
        fs::write(folder.path().join("zoneinfo"), "low much\n").unwrap();
        assert_eq!(reader(&folder).read().unwrap().available, Some((2_057_400 + 4_818_144) * KIB));
    }
}

#[test]
fn more_available_than_there_is_is_what_is_free() {
    let memory = read("MemTotal: 100 kB\nMemFree: 40 kB\nMemAvailable: 101 kB\n").unwrap();
    assert_eq!((memory.available, memory.used()), (Some(40 * KIB), Some(60 * KIB)));
    // A container's total, and the machine's free memory.
    let memory = read("MemTotal: 100 kB\nMemFree: 400 kB\nMemAvailable: 500 kB\n").unwrap();
    assert_eq!((memory.used(), memory.used_ratio()), (Some(0), Some(0.0)));
}

#[test]
fn fields_are_found_wherever_the_buffer_ends() {
    let expect = read(USUAL).unwrap();
    for padding in BUFFER_BYTES - 60..BUFFER_BYTES + 60 {
        let long = "1".repeat(padding);
        assert_eq!(read(&format!("Padding: {long}\n{USUAL}")).unwrap(), expect, "{padding}");
        // What a piece begins with is the end of a line, not a line.
        let memory = read(&format!("Padding: {long}MemTotal: 7 kB\n{USUAL}")).unwrap();
        assert_eq!(memory, expect, "{padding}");
    }
    let several = USUAL.repeat(9);
    assert_eq!(read(&several).unwrap(), expect);
    assert_eq!(read(several.trim_end()).unwrap(), expect, "the last line may lack its end");
}

#[test]
fn what_is_no_number_is_refused() {
    for (meminfo, words) in [
        ("", "MemTotal and MemFree"),
        ("MemTotal: 100 kB\n", "MemTotal and MemFree"),
        ("MemFree: 100 kB\n", "MemTotal and MemFree"),
        ("MemTotal: 100 MB\n", "MemTotal as a number, saw \"MemTotal: 100 MB\""),
        ("MemTotal: +1 kB\n", "MemTotal as a number"),
        ("MemTotal: -1 kB\n", "MemTotal as a number"),
        ("MemTotal: kB\n", "MemTotal as a number"),
        ("MemTotal: 18446744073709551615 kB\n", "MemTotal as a number"),
        ("MemTotal: 100 kB\nMemFree: 1", "MemFree as a number, saw \"MemFree: 1\""),
        ("MemTotal: 100 kB\nMemFree: 1 kB\nSwapFree:\n", "SwapFree as a number"),
    ] {
        let error = read(meminfo).expect_err(meminfo);
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let message = error.to_string();
        assert!(message.contains("/meminfo: expected ") && message.contains(words), "{message}");
    }
    let error = SystemMemoryReader::new(TempDir::new().unwrap().path()).read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

#[test]
fn a_later_reading_sees_the_file_of_then_through_the_same_descriptor() {
    let folder = folder(USUAL);
    let mut reader = reader(&folder);
    let first = reader.read().unwrap();
    fs::write(folder.path().join("meminfo"), "MemTotal: 1").unwrap();
    reader.read().unwrap_err();
    fs::write(folder.path().join("meminfo"), USUAL).unwrap();
    folder.close().unwrap();
    assert_eq!(reader.read().unwrap(), first);
}

#[test]
fn this_machine_has_memory() {
    let mut reader = SystemMemoryReader::new(Path::new("/proc"));
    for _ in 0..3 {
        let memory = reader.read().unwrap();
        assert!(memory.total > 0 && memory.free <= memory.total, "{memory:?}");
        assert!(memory.used_ratio().is_some_and(|ratio| (0.0..=1.0).contains(&ratio)), "{memory:?}");
    }
}
