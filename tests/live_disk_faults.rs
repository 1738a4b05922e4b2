//! A folder that is deleted, swapped or full of what is not ours, and disks that fail: nothing is lost but what is counted.

mod common_disk;
mod common_http;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common_disk::{SHORT, Service, disk, files, folder, get, leak_sessions, role, say, writing_to};
use common_http::{ask, wait_for};
use heapward::{Builder, ByteSize};

heapward::install!("lg_prof_sample:12");

const TEST: &str = "a_disk_that_fails_costs_what_is_counted_and_no_more";
const HISTORY: usize = 3;

/// A snapshot every 50 ms.
fn busy(folder: &Path) -> Builder {
    writing_to(folder)
        .rss_threshold(ByteSize::bytes(1))
        .min_interval(SHORT)
        .poll_interval(Duration::from_millis(10))
        .history(HISTORY)
        .profiles_count(100_000)
}

#[test]
fn a_disk_that_fails_costs_what_is_counted_and_no_more() {
    if role().is_some() {
        return leave_one();
    }
    let log = Log::install();
    let below = tempfile::tempdir().unwrap();
    a_folder_that_goes_away_and_comes_back(below.path(), &log);
    a_folder_that_is_deleted_is_written_again(&below.path().join("rewritten"), &log);
    what_cannot_be_written_at_the_end_is_told(&below.path().join("end"), &log);
    the_last_snapshot_is_written_too(&below.path().join("last"));
    thousands_of_files_and_what_is_not_ours(below.path());
}

fn a_folder_that_goes_away_and_comes_back(below: &Path, log: &Log) {
    let (folder, moved, away) = (below.join("profiles"), below.join("moved"), below.join("away"));
    let profiler = busy(&folder).start().unwrap();
    let more = |count: u64| {
        let before = disk(&profiler, "writes");
        wait_for("writes", || (disk(&profiler, "writes") >= before + count).then_some(()));
    };
    more(3);

    // Moved away, with all that was written: another is made, and what the ring has is written there too.
    std::fs::rename(&folder, &moved).unwrap();
    more(3);
    assert!(files(&folder).len() >= 2 && disk(&profiler, "write_failures") == 0);
    let run = get(&profiler, "/api/runs")["run"].as_str().unwrap().to_owned();
    assert!(folder.join(format!("{run}.run")).exists(), "its record too");

    // Something else at its place.
    put_a_file_there(&folder, &away);
    wait_for("failures", || (disk(&profiler, "write_failures") >= 2).then_some(()));
    let memory = get(&profiler, "/api/memory");
    assert_eq!(memory["disk"]["failing"], true);
    assert!(memory["disk"]["error"].as_str().unwrap().contains("profiles: "), "{}", memory["disk"]);
    let metrics = String::from_utf8(ask(&profiler.routes(), "GET", "/metrics").body).unwrap();
    assert!(metrics.contains("heapward_disk_failing 1"), "{metrics}");
    let latest = || profiler.snapshots().last().unwrap().id;
    let before = latest();
    wait_for("the ring to go on", || (latest() > before + HISTORY as u64 + 2).then_some(()));
    assert_eq!(std::fs::read_to_string(&folder).unwrap(), "no folder");

    exchange(&folder, &away);
    std::fs::remove_file(&away).unwrap();
    wait_for("writing again", || (get(&profiler, "/api/memory")["disk"]["failing"] == false).then_some(()));
    more(2);
    let skipped = disk(&profiler, "skipped");
    profiler.shutdown();

    assert_eq!(log.count("could not be written"), 1, "{}", log.text());
    assert_eq!(log.count("can be written again"), 1, "{}", log.text());
    // What is on disk and what was counted as skipped are all that there was.
    let mut ids: Vec<u64> = files(&folder).iter().map(|name| id_of(name)).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "each once in a folder, also one that came back: {ids:?}");
    ids.extend(files(&moved).iter().map(|name| id_of(name)));
    ids.sort_unstable();
    ids.dedup();
    let missing = (1..=*ids.last().unwrap()).filter(|id| ids.binary_search(id).is_err()).count() as u64;
    assert!(missing > 0, "the ring gave some up");
    assert_eq!(skipped, missing);
}

/// Of a snapshot's file.
fn id_of(name: &str) -> u64 {
    name.split('.').nth(3).unwrap().parse().unwrap()
}

/// What the ring still has is in the new folder, though nothing new is taken.
fn a_folder_that_is_deleted_is_written_again(folder: &Path, log: &Log) {
    let profiler = writing_to(folder).history(2).start().unwrap();
    (0..4).for_each(|_| {
        common_disk::written_snapshot(&profiler);
    });
    let kept = || profiler.snapshots().iter().map(|snapshot| snapshot.id).collect::<Vec<_>>();
    let before = kept();
    assert!(before.len() < 4 && before.ends_with(&[3, 4]), "{before:?}");
    std::fs::remove_dir_all(folder).unwrap();
    let ids = || files(folder).iter().map(|name| id_of(name)).collect::<Vec<_>>();
    wait_for("what the ring has to be written again", || (ids() == before).then_some(()));
    let run = get(&profiler, "/api/runs")["run"].as_str().unwrap().to_owned();
    assert!(folder.join(format!("{run}.run")).exists(), "its record too");
    assert_eq!(kept(), before);
    common_disk::written_snapshot(&profiler);
    assert_eq!(ids().last(), Some(&5));
    assert_eq!(ids().len(), before.len() + 1, "each once");
    assert_eq!(["skipped", "write_failures"].map(|figure| disk(&profiler, figure)), [0, 0]);
    profiler.shutdown();
    assert_eq!(log.count("were not written before the end"), 0, "{}", log.text());
}

/// Once that writing fails, and once what that cost.
fn what_cannot_be_written_at_the_end_is_told(folder: &Path, log: &Log) {
    let profiler = writing_to(folder).start().unwrap();
    common_disk::written_snapshot(&profiler);
    let warnings = log.count("could not be written");
    put_a_file_there(folder, &folder.with_extension("away"));
    let id = wait_for("a snapshot", || profiler.snapshot().ok()).id;
    wait_for("a failure", || (disk(&profiler, "write_failures") > 0).then_some(()));
    profiler.shutdown();
    assert_eq!(id, 2);
    assert_eq!(log.count("could not be written") - warnings, 1, "{}", log.text());
    assert_eq!(log.count("1 snapshots were not written before the end"), 1, "{}", log.text());
    std::fs::remove_file(folder).unwrap();
}

/// Puts a file in the place of `folder`, which is `away` then. At once: else it might be made again in between.
fn put_a_file_there(folder: &Path, away: &Path) {
    std::fs::write(away, "no folder").unwrap();
    exchange(folder, away);
}

fn exchange(one: &Path, other: &Path) {
    rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, rustix::fs::RenameFlags::EXCHANGE).unwrap();
}

/// One that is being taken while heapward is told to end.
fn the_last_snapshot_is_written_too(folder: &Path) {
    let (holds, is_held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let gauge = {
        let (holds, is_held) = (Arc::clone(&holds), Arc::clone(&is_held));
        move || {
            while holds.load(Relaxed) {
                is_held.store(true, Relaxed);
                std::thread::yield_now();
            }
            Some(0.0)
        }
    };
    // Each poll takes one.
    let profiler = busy(folder).poll_interval(2 * SHORT).trigger_on_gauge("held", 1.0, gauge).start().unwrap();
    wait_for("writes", || (disk(&profiler, "writes") >= 2).then_some(()));
    holds.store(true, Relaxed);
    wait_for("a poll that goes on", || is_held.load(Relaxed).then_some(()));
    let before = wait_for("all to be written", || {
        let last = profiler.snapshots().last().unwrap().id;
        (files(folder).iter().map(|name| id_of(name)).max() == Some(last)).then_some(last)
    });
    let ends = std::thread::spawn(move || profiler.shutdown());
    // A disk's thread that does not wait for the poll is gone by then; one that does is there, whenever this ends.
    let begun = Instant::now();
    while begun.elapsed() < 6 * SHORT && common_http::thread_names().contains(&"heapward-disk".to_owned()) {
        std::thread::yield_now();
    }
    holds.store(false, Relaxed);
    ends.join().unwrap();
    assert_eq!(files(folder).iter().map(|name| id_of(name)).max(), Some(before + 1));
}

fn thousands_of_files_and_what_is_not_ours(below: &Path) {
    const FILES: u64 = 10_000;
    let folder = below.join("many");
    Service::start(TEST, "service", &folder).kill();
    let [name] = files(&folder).try_into().unwrap();
    let bytes = std::fs::read(folder.join(&name)).unwrap();
    let parts: Vec<&str> = name.split('.').collect();
    let called = |id: u64| format!("{}.{}.{}.{id:06}.{}", parts[0], parts[1], parts[2], parts[4..].join("."));
    assert_eq!(called(1), name);
    (2..=FILES).for_each(|id| std::fs::write(folder.join(called(id)), &bytes).unwrap());
    let damaged = [
        (called(FILES + 2), bytes[..bytes.len() / 2].to_vec(), "it is cut off or damaged"),
        (called(FILES + 3), Vec::new(), "at byte 0: 8 bytes are missing"),
        ("77-00000001.run".to_owned(), b"half".to_vec(), "at byte 4: the file ends here"),
    ];
    damaged.iter().for_each(|(name, bytes, _)| std::fs::write(folder.join(name), bytes).unwrap());
    // A newer heapward's, which is left to it.
    let newer = called(FILES + 1);
    std::fs::write(folder.join(&newer), [&bytes[..8], &[9, 0, 0, 0], &bytes[12..]].concat()).unwrap();
    // These are nobody's business.
    std::fs::create_dir(folder.join(called(FILES + 4))).unwrap();
    let others = ["README.md", "x.heapward", ".tmp", "notes.run"];
    others.iter().for_each(|name| std::fs::write(folder.join(name), "mine").unwrap());

    let begun = Instant::now();
    let profiler = writing_to(&folder).start().unwrap();
    let started = begun.elapsed();
    wait_for("the folder to be looked through", || get(&profiler, "/api/runs")["run"].as_str().map(|_| ()));
    wait_for("the damaged ones to be set aside", || (disk(&profiler, "set_aside") == 3).then_some(()));
    println!("started in {started:?}, looked through {FILES} files after {:?}", begun.elapsed());
    let list = get(&profiler, "/api/runs");
    for (name, _, expect) in &damaged {
        let set_aside = list["set_aside"].as_array().unwrap();
        let found = set_aside.iter().find(|entry| entry["file"] == name.as_str()).unwrap_or_else(|| panic!("{list}"));
        assert!(found["reason"].as_str().unwrap().contains(expect), "{found}");
    }
    wait_for("all to be counted", || (disk(&profiler, "snapshots") == FILES + 1).then_some(()));
    // The first write removes what is too much: 20 with the new one, and of the previous run the first (which is the highest).
    wait_for("a snapshot", || profiler.snapshot().ok());
    wait_for("a write", || (disk(&profiler, "removed") > 0).then_some(()));
    let (left, removed) = (disk(&profiler, "snapshots"), disk(&profiler, "removed"));
    assert_eq!(left + removed, FILES + 2, "nothing is lost but what is counted");
    assert_eq!((left, files(&folder).len() as u64), (22, 22 + 2), "and a folder and one that has no such name");
    let list = get(&profiler, "/api/snapshots?run=previous");
    assert_eq!(list["unreadable"][0]["file"], newer.as_str());
    assert!(list["unreadable"][0]["reason"].as_str().unwrap().starts_with("at byte 8: format version 9"));
    let error = ask(&profiler.routes(), "GET", "/api/snapshots/latest/top?run=previous").expect(400).error();
    assert!(error.starts_with(&format!("{newer} is a newer heapward's: at byte 8: format version 9")), "{error}");
    assert!(folder.join(&newer).exists() && disk(&profiler, "set_aside_removed") == 0);
    others.iter().for_each(|name| assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), "mine"));
    profiler.shutdown();
}

/// A service with one snapshot, until it is killed.
fn leave_one() {
    let profiler = writing_to(&folder()).start().unwrap();
    let mut held = Vec::with_capacity(100);
    leak_sessions(&mut held, 100);
    common_disk::written_snapshot(&profiler);
    say("is done");
    loop {
        std::thread::park();
    }
}

/// What heapward logs.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn install() -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        subscriber.with_max_level(tracing::Level::INFO).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
