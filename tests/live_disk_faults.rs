//! A folder that is deleted, swapped or full of what is not ours, and disks that fail: nothing is lost but what is counted.

mod common_disk;
mod common_http;

use std::io::Write;
use std::path::Path;
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
    thousands_of_files_and_what_is_not_ours(below.path());
}

fn a_folder_that_goes_away_and_comes_back(below: &Path, log: &Log) {
    let (folder, deleted, away) = (below.join("profiles"), below.join("deleted"), below.join("away"));
    let profiler = busy(&folder).start().unwrap();
    let more = |count: u64| {
        let before = disk(&profiler, "writes");
        wait_for("writes", || (disk(&profiler, "writes") >= before + count).then_some(()));
    };
    more(3);

    // Deleted: made anew, with nothing lost.
    std::fs::rename(&folder, &deleted).unwrap();
    more(3);
    assert!(files(&folder).len() >= 2 && disk(&profiler, "write_failures") == 0);
    let run = get(&profiler, "/api/runs")["run"].as_str().unwrap().to_owned();
    assert!(folder.join(format!("{run}.run")).exists(), "its record too");

    // Something else at its place.
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
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

    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    wait_for("writing again", || (get(&profiler, "/api/memory")["disk"]["failing"] == false).then_some(()));
    more(2);
    let skipped = disk(&profiler, "skipped");
    profiler.shutdown();

    assert_eq!(log.count("could not be written"), 1, "{}", log.text());
    assert_eq!(log.count("can be written again"), 1, "{}", log.text());
    // What is on disk and what was counted as skipped are all that there was.
    let id = |name: &String| name.split('.').nth(3).unwrap().parse::<u64>().unwrap();
    let mut ids: Vec<u64> = files(&folder).iter().chain(&files(&deleted)).map(id).collect();
    ids.sort_unstable();
    let missing = (1..=*ids.last().unwrap()).filter(|id| ids.binary_search(id).is_err()).count() as u64;
    assert!(missing > 0, "the ring gave some up");
    assert_eq!(skipped, missing);
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
