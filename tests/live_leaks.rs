//! `/api/leaks` and `Profiler::leaks`: a leak named with its evidence beside a cache that is let go, as JSON and as text.

mod common_http;

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common_http::{Client, wait_for};
use heapward::{ByteSize, Profiler};

heapward::install!("lg_prof_sample:12");

/// Of the function that leaks.
const FIRST_LINE: u64 = line!() as u64 + 3;

#[inline(never)]
fn open_session(sessions: &mut HashMap<u64, Vec<u8>>, number: u64) {
    sessions.insert(number, black_box(vec![1; 2000]));
}

#[inline(never)]
fn remember(cache: &mut VecDeque<Vec<u8>>) {
    cache.push_back(black_box(vec![2; 8000]));
    if cache.len() > 200 {
        cache.pop_front();
    }
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The service: until it is told to end, a request every millisecond.
fn serve(ended: &AtomicBool) -> usize {
    let (mut sessions, mut cache) = (HashMap::new(), VecDeque::new());
    for number in 0.. {
        if ended.load(Relaxed) {
            break;
        }
        open_session(&mut sessions, number);
        remember(&mut cache);
        std::thread::sleep(Duration::from_millis(1));
    }
    sessions.len()
}

#[test]
fn a_leak_is_told_with_its_evidence() {
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::bytes(1))
        .poll_interval(Duration::from_millis(50))
        .min_interval(Duration::from_millis(200))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    let before = client.get("/api/leaks");
    assert_eq!(before.status, 200, "before the first snapshot");
    assert!(before.json()["summary"].as_str().unwrap().contains("too few snapshots"), "{}", before.text());

    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let service = scope.spawn(|| serve(&ended));
        // Also when something is not as it should be.
        let _end = OnDrop(&ended);
        wait_for("sixteen snapshots", || (profiler.snapshots().len() >= 16).then_some(()));
        // On a busy machine the service may stand still for so long that it takes more of them.
        wait_for("the leak to be told", || {
            let report = client.get("/api/leaks").json();
            let suspects = report["suspects"].as_array().unwrap();
            assert!(suspects.iter().all(|suspect| suspect["function"] == "live_leaks::open_session"), "{report:#}");
            (!suspects.is_empty()).then_some(())
        });
        it_is_in_json(&client);
        it_is_in_text(&client);
        it_is_on_the_handle(&profiler);
        it_takes_no_parameters(&client);
        ended.store(true, Relaxed);
        assert!(service.join().unwrap() > 0);
    });
    profiler.shutdown();
}

fn it_is_in_json(client: &Client) {
    let report = client.get("/api/leaks").json();
    let suspects = report["suspects"].as_array().unwrap();
    assert_eq!(suspects.len(), 1, "{report:#}");
    let suspect = &suspects[0];
    assert_eq!(suspect["function"], "live_leaks::open_session");
    assert!(suspect["file"].as_str().unwrap().ends_with("tests/live_leaks.rs"), "{suspect:#}");
    assert!((FIRST_LINE..FIRST_LINE + 4).contains(&suspect["line"].as_u64().unwrap()), "{suspect:#}");
    assert_eq!(suspect["shape"], "unbounded");
    for name in ["bytes", "bytes_low", "bytes_high", "detection_limit_bytes"] {
        assert!(suspect[name].is_i64(), "{name} is a whole number: {suspect:#}");
    }
    let number = |name: &str| suspect[name].as_f64().unwrap_or_else(|| panic!("{name}: {suspect:#}"));
    assert!(number("bytes_low") > 0.0 && number("bytes_low") < number("bytes"), "{suspect:#}");
    assert!(number("bytes_high") > number("bytes"), "{suspect:#}");
    assert!(number("bytes_per_second_low") > 0.0 && number("bytes_per_second") > number("bytes_per_second_low"));
    assert!(number("alive_share") > 0.5 && number("not_freed_low") > 0.5, "{suspect:#}");
    assert!(number("p_value") < 0.01 && number("stack_share") > 0.5, "{suspect:#}");
    assert!(suspect["verdict"].as_str().unwrap().starts_with("grows without bound: +"), "{suspect:#}");
    let stack: Vec<_> = suspect["stack"].as_array().unwrap().iter().map(|site| site["function"].as_str()).collect();
    assert!(stack.contains(&Some("live_leaks::serve")), "{stack:?}");
    assert!(report["snapshots"].as_array().unwrap().len() >= 16 && report["sites"].as_u64() > Some(1));
    // The cache is full after a fifth of a second, of more than three: it may have risen too little to be told of.
    for let_go in report["let_go"].as_array().unwrap() {
        assert!(!let_go["verdict"].as_str().unwrap().is_empty() && let_go["rise_bytes"].as_i64() > Some(0));
        assert_ne!(let_go["shape"], "unbounded");
    }
}

fn it_is_in_text(client: &Client) {
    let reply = client.get_with("/api/leaks", &[("Accept", "text/plain")]);
    let text = reply.text();
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(text.starts_with("1 site grows without bound\n"), "{text}");
    assert!(text.contains("1. live_leaks::open_session ") && text.contains("of it by this stack:"), "{text}");
}

fn it_is_on_the_handle(profiler: &Profiler) {
    let report = profiler.leaks().unwrap();
    let suspect = &report.suspects[0];
    assert_eq!(suspect.site.function, "live_leaks::open_session");
    assert!(report.to > report.from && report.seconds > 1.0 && report.sample_interval_bytes == 4096);
}

fn it_takes_no_parameters(client: &Client) {
    let reply = client.get("/api/leaks?n=3");
    assert_eq!((reply.status, reply.text().contains("parameter `n` is unknown")), (400, true), "{}", reply.text());
}
