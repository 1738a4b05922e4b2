use super::super::super::ProfilesDir;
use super::*;
use crate::profile::{Cohort, Cohorts, PackedTotals, ReturnAddress, SampleInterval, Totals};
use crate::snapshot::{empty_snapshot, write_facts};
use crate::system::thread_allocated;
use std::io::Write;

/// Of stack `id`: deep, and in its root alike for neighbours.
fn frames_of(id: u32) -> Vec<ReturnAddress> {
    let leaf = |at| if at < 3 { u64::from(id) * 0x1003 } else { 0 };
    (0..u64::from(id) % 40).map(|at| ReturnAddress(0x5555_5555_0000 + at * 0x77 + leaf(at))).collect()
}

fn snapshot(stacks: u32) -> Snapshot {
    let interval = SampleInterval::from_lg(19).unwrap();
    let cohort = |id: u32| Cohort { stack: id, epoch: id % 3, live: interval.weigh(u64::from(id) % 999 * 16 + 16) };
    let total = |id: u32| Totals { stack: id, objects: 9, estimated_bytes: 9 << 19, ..Totals::default() };
    let mut snapshot = Snapshot::clone(&empty_snapshot(7, 100 << 20));
    snapshot.cohorts = Cohorts::of(&(0..stacks).map(cohort).collect::<Vec<_>>());
    snapshot.totals = PackedTotals::pack(stacks as usize, (0..stacks).map(total));
    snapshot.mappings = loaded_mappings().into();
    snapshot
}

fn text() -> HeadText {
    let run = RunId { number: 1, random: 2 };
    HeadText { run, program: "p".repeat(200), build_id: None, sample_interval: 1 << 19, has_birthdays: true }
}

/// A small memory group has no room when it matters.
#[test]
fn writing_a_file_allocates_nothing() {
    const STACKS: u32 = 20_000;
    let below = tempfile::tempdir().unwrap();
    let folder = Folder::open_or_make(below.path()).unwrap();
    let (snapshot, text, mut packer) = (snapshot(STACKS), text(), Packer::new());
    // Frames that are there, as the collector's are.
    let stacks: Vec<Vec<ReturnAddress>> = (0..STACKS).map(frames_of).collect();
    let frames =
        |id: u32, each: &mut dyn FnMut(ReturnAddress)| stacks[id as usize].iter().for_each(|frame| each(*frame));
    let allocated = || thread_allocated().expect("this jemalloc counts");
    let mut sizes = [0; 3];
    for (id, size) in (1..).zip(&mut sizes) {
        let before = allocated();
        let reason = ReasonName::of(snapshot.reason.name());
        let name = FileName { millis: 1_795_283_516_123, run: text.run, id, reason, rss: 1 << 30 };
        *size = write_whole(&folder, ".tmp", &name, |file| packer.write(&snapshot, &text, &frames, file)).unwrap();
        assert_eq!(allocated() - before, 0, "bytes allocated while a snapshot is written");
        assert_eq!(folder.size_and_age(&name.to_string()).unwrap().0, *size);
    }
    assert_eq!(sizes[0], sizes[2]);
    // Compact: eight bytes a frame alone would be 3 MB.
    assert!(sizes[0] < 1_000_000, "{sizes:?}");
}

fn store(run: RunId, retention: DiskRetention) -> Store {
    let facts = RunFacts {
        run,
        started: SystemTime::UNIX_EPOCH,
        started_since_boot: std::time::Duration::ZERO,
        pid: 1,
        boot_id: "another".to_owned(),
        program: own_program(),
        build_id: None,
        version: String::new(),
        oom_file: String::new(),
        oom_file_number: 0,
    };
    Store::of(facts, HeadText { run, ..text() }, None, retention)
}

/// From the name to what is removed and told, for as many files as there may be.
#[test]
fn keeping_a_thousand_files_allocates_nothing_either() {
    const COUNT: usize = 1000;
    const RUNS: u32 = 30;
    let below = tempfile::tempdir().unwrap();
    let (disk, _wakes) = Disk::new(&ProfilesDir::Named(below.path().to_owned()));
    let folder = Folder::open_or_make(below.path()).unwrap();
    let retention = DiskRetention { count: COUNT, bytes: 1 << 30 };
    let allocated = || thread_allocated().expect("this jemalloc counts");
    let frames = |_, _: &mut dyn FnMut(ReturnAddress)| {};
    let one = snapshot(0);
    let write = |store: &mut Store, id: u64| {
        let snapshot = Snapshot { id, ..one.clone() };
        let before = allocated();
        store.write(&snapshot, &frames, &disk).unwrap();
        assert_eq!(allocated() - before, 0, "bytes allocated while snapshot {id} is written");
    };
    // More than a usual number, into a folder with nothing.
    let mut first = store(RunId { number: 0, random: 1 }, retention);
    assert_eq!(first.open(&disk, false).unwrap(), Some(0));
    (1..=300).for_each(|id| write(&mut first, id));
    assert_eq!((disk.figures().snapshots, disk.figures().removed), (300, 0));
    assert_eq!(first.open(&disk, false).unwrap(), None);
    drop(first);

    // And into one that is full, with runs that lose their last file.
    let file = folder.open_file(&one_name(&folder), false).unwrap().read_all(1 << 20).unwrap();
    for number in 1..=RUNS {
        let run = RunId { number: 100 + number, random: 1 };
        folder.create(&Note::name(run)).unwrap().write_at(&write_facts(&store(run, retention).facts)[..], 0).unwrap();
        // Older than all; those of the last run are pinned.
        let name = FileName { millis: u64::from(number), run, id: 1, reason: ReasonName::of("requested"), rss: 1 };
        folder.create(&name.to_string()).unwrap().write_all(&file).unwrap();
    }
    let (disk, _wakes) = Disk::new(&ProfilesDir::Named(below.path().to_owned()));
    let few = DiskRetention { count: 10, bytes: 1 << 30 };
    let mut second = store(RunId { number: 0, random: 2 }, few);
    assert_eq!(second.open(&disk, false).unwrap(), Some(0));
    assert_eq!(disk.figures().snapshots, 300 + u64::from(RUNS));
    let write = |store: &mut Store, id: u64| {
        let snapshot = Snapshot { id, ..one.clone() };
        let before = allocated();
        store.write(&snapshot, &frames, &disk).unwrap();
        assert_eq!(allocated() - before, 0, "bytes allocated while snapshot {id} is written");
    };
    (1..=20).for_each(|id| write(&mut second, id));
    let records = || {
        let mut records = 0;
        folder.list(|name| records += usize::from(Note::parse(name).is_some())).unwrap();
        records
    };
    // Of the previous run and of this one a record, and the last ones of those that have nothing else.
    assert_eq!((disk.figures().snapshots, records()), (12, MOST_NOTES + 2));
    assert_eq!(disk.figures().removed, 300 + u64::from(RUNS) + 20 - 12);
}

fn one_name(folder: &Folder) -> String {
    let mut found = None;
    folder.list(|name| found = FileName::parse(name).map(|_| name.to_owned()).or(found.take())).unwrap();
    found.unwrap()
}

#[test]
fn another_folder_says_what_it_has_of_this_run() {
    let below = tempfile::tempdir().unwrap();
    let (path, away) = (below.path().join("folder"), below.path().join("away"));
    let (disk, _wakes) = Disk::new(&ProfilesDir::Named(path.clone()));
    let mut store = store(RunId { number: 0, random: 1 }, DiskRetention { count: 9, bytes: 1 << 30 });
    let frames = |_, _: &mut dyn FnMut(ReturnAddress)| {};
    let one = snapshot(0);
    let write = |store: &mut Store, id: u64, minute: u64| {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(60 * minute);
        store.write(&Snapshot { id, time, ..one.clone() }, &frames, &disk).unwrap();
    };
    assert!(!store.has_lost_its_folder(), "there was none");
    assert_eq!(store.open(&disk, false).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(store.open(&disk, true).unwrap(), Some(0));
    (1..=3).for_each(|id| write(&mut store, id, id));
    assert_eq!((store.open(&disk, true).unwrap(), store.has_lost_its_folder()), (None, false));
    std::fs::rename(&path, &away).unwrap();
    assert!(store.has_lost_its_folder());
    assert!(store.open(&disk, false).is_err() && store.has_lost_its_folder());
    assert_eq!(store.open(&disk, true).unwrap(), Some(0));
    assert!(!store.has_lost_its_folder());
    // Written once more, under its own time.
    write(&mut store, 2, 2);
    let name = one_name(&Folder::open(&path).unwrap());
    assert_eq!(FileName::parse(&name).unwrap().millis, 120_000);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(store.open(&disk, true).unwrap(), Some(3));
    // The clock went back.
    write(&mut store, 4, 1);
    assert_eq!(store.files.iter().map(|file| file.name.millis / 60_000).collect::<Vec<_>>(), [1, 2, 3, 3]);
}

#[test]
fn names_sort_as_snapshots_were_taken_whatever_the_clock_does() {
    let mut last = (0, String::new());
    let hours = [500_000u64, 500_001, 400_000, 499_999, 0, 500_002, 500_001].map(|hour| hour * 3_600_000);
    for (id, millis) in (1..).zip(hours) {
        let mut one = Snapshot::clone(&empty_snapshot(id, 1));
        one.time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        let name = name_of(&one, text().run, last.0);
        assert!(name.to_string() > last.1, "{name} after {}", last.1);
        last = (name.millis, name.to_string());
    }
    assert_eq!(last.0, 500_002 * 3_600_000);
}

#[test]
fn a_file_that_cannot_be_written_leaves_no_name() {
    let below = tempfile::tempdir().unwrap();
    let folder = Folder::open_or_make(below.path()).unwrap();
    let name = FileName { millis: 1, run: text().run, id: 1, reason: ReasonName::of("requested"), rss: 1 };
    let write = |fails: Option<i32>| {
        write_whole(&folder, ".tmp", &name, |file| {
            file.write_all(b"half")?;
            fails.map_or(Ok(4), |error| Err(io::Error::from_raw_os_error(error)))
        })
    };
    let names = || {
        let mut names = Vec::new();
        folder.list(|name| names.push(name.to_owned())).unwrap();
        names
    };
    for error in [libc::EIO, libc::ENOSPC, libc::EACCES, libc::EDQUOT] {
        assert_eq!(write(Some(error)).unwrap_err().raw_os_error(), Some(error));
        assert!(names().is_empty(), "{:?}", names());
    }
    // One that was left by a process that was killed is no hindrance.
    folder.create(".tmp").unwrap();
    assert_eq!(write(None).unwrap(), 4);
    assert_eq!(names(), [name.to_string()]);
}
