//! `/debug/pprof/` answers as Go's `net/http/pprof` does, and differences of two heaps are signed profiles.
//!
//! The sample interval is one byte, so every figure is exact.

mod common_http;
mod common_profile;

use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use common_http::{Client, Reply, functions, heapward_threads, string, values_at, wait_for, waiting};
use common_profile::{HEAP, round_trip, totals, validate};
use heapward::{ByteSize, Profiler};

heapward::install!("lg_prof_sample:0,dirty_decay_ms:50,muzzy_decay_ms:0");

const BLOCK: usize = 64 * 1024;

/// Profiles to read again when nothing is sampled any more: at this interval that takes its time.
static PRODUCED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Functions of known names that allocate known amounts, each with the list that keeps them.
macro_rules! keepers {
    ($($name:ident)*) => {
        $(#[inline(never)] fn $name(count: usize) -> Vec<Vec<u8>> {
            black_box(stringify!($name));
            let mut kept = Vec::with_capacity(count);
            for _ in 0..count { kept.push(vec![black_box(7); BLOCK]); }
            black_box(kept)
        })*
    };
}

keepers! { keep_all_the_time free_meanwhile keep_new }

#[test]
fn as_go_does_it() {
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::gib(1 << 20))
        .poll_interval(Duration::from_millis(10))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    let kept = keep_all_the_time(3);

    the_index_leads_everywhere(&client);
    heaps_are_valid(&client);
    text_is_whole(&client);
    bad_parameters_are_refused(&client);
    unused_pages_are_given_back(&client);
    a_delta_is_signed(&client);
    deltas_at_once_are_bounded(&client);
    the_command_line_is_told(&client);
    addresses_have_names(&client);
    #[cfg(not(feature = "cpu"))]
    assert!(refused(&client, "/debug/pprof/profile?seconds=1", 501).contains("feature `cpu`"));

    snapshots_are_compared(&client, &profiler);
    black_box(kept);
    profiler.shutdown();
    assert_eq!(heapward_threads(), [""; 0]);
    let produced = std::mem::take(&mut *PRODUCED.lock().unwrap());
    assert!(produced.len() > 8);
    produced.iter().for_each(|profile| round_trip(profile));
}

/// The text of an error as pprof shows it.
#[track_caller]
fn refused(client: &Client, path: &str, status: u16) -> String {
    let reply = client.get(path).expect(status);
    assert_eq!(reply.header("x-go-pprof"), Some("1"), "{path}");
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
    assert_eq!(reply.header("content-disposition"), None, "{path}");
    reply.text().to_owned()
}

fn the_index_leads_everywhere(client: &Client) {
    for path in ["/debug/pprof", "/debug/pprof/"] {
        let reply = client.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        let links: Vec<&str> =
            reply.text().split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(["heap", "allocs", "cmdline", "symbol"].iter().all(|name| links.contains(name)), "{links:?}");
        for link in links.iter().filter(|link| !link.starts_with("profile") && !link.starts_with("..")) {
            client.get(&format!("/debug/pprof/{link}")).expect(200);
        }
    }
    assert!(refused(client, "/debug/pprof/goroutine", 404).contains("/debug/pprof/heap"));
}

fn heaps_are_valid(client: &Client) {
    // As Go does, and unlike the rest of heapward, parameters that nobody knows are ignored.
    for (path, default, name) in [
        ("/debug/pprof/heap", "inuse_space", "heap.prof"),
        ("/debug/pprof/heap?debug=0&nobody=knows", "inuse_space", "heap.prof"),
        ("/debug/pprof/allocs", "alloc_space", "allocs.prof"),
    ] {
        let reply = client.get(path).expect(200);
        assert_eq!(reply.header("content-disposition"), Some(&*format!("attachment; filename=\"{name}\"")));
        let profile = reply.profile();
        validate(&profile, &HEAP);
        PRODUCED.lock().unwrap().push(reply.body.clone());
        assert_eq!(string(&profile, profile.default_sample_type), default);
        assert_eq!((profile.period, profile.duration_nanos), (1, 0));
        let [_, _, objects, bytes] = values_at(&profile, "keep_all_the_time");
        assert!((3..6).contains(&objects) && bytes >= 3 * BLOCK as i64, "{objects} {bytes}");
    }
}

fn text_is_whole(client: &Client) {
    for path in ["/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=2"] {
        let reply = client.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(reply.header("content-disposition"), None);
        let text = reply.text();
        let mut lines = text.lines();
        let head = lines.next().unwrap().strip_prefix("heap profile: ").unwrap();
        let (all, rate) = head.split_once(" @ ").unwrap();
        assert_eq!(rate, "heap_v2/1");
        let rows: Vec<[u64; 4]> =
            lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with('#')).map(counts).collect();
        let sum = rows.iter().fold([0; 4], |sum, row| std::array::from_fn(|index| sum[index] + row[index]));
        assert_eq!(counts(all), sum, "the head is the sum");
        assert!(rows.is_sorted_by(|a, b| a[1] >= b[1]), "most bytes in use first");
        let block = BLOCK as u64;
        assert!(rows.iter().any(|row| row[..2] == [3, 3 * block]), "counts as sampled: {rows:?}");
        let named = text.lines().find(|line| line.starts_with("#\t0x") && line.contains("keep_all_the_time")).unwrap();
        assert!(named.contains(&format!("{}:", file!())), "{named}");
        // At an interval of one byte there is nothing to scale.
        let read = heapward::HeapProfile::read(&reply.body).unwrap().totals();
        let read = [read.inuse_objects, read.inuse_bytes, read.alloc_objects, read.alloc_bytes];
        assert_eq!(read, sum.map(|value| value as i64), "heapward reads it as well");
        let maps = text.split_once("\nMAPPED_LIBRARIES:\n").unwrap().1;
        assert!(maps.lines().any(|line| line.contains("r-xp") && line.contains("live_net_http_pprof")), "{maps}");
    }
}

/// `n: bytes [n: bytes]` at the front of a line.
#[track_caller]
fn counts(line: &str) -> [u64; 4] {
    let counts = line.split('@').next().unwrap().split([':', '[', ']', ' ']).filter(|part| !part.is_empty());
    let counts: Vec<u64> = counts.map(|part| part.parse().unwrap_or_else(|_| panic!("{line}"))).collect();
    counts.try_into().unwrap_or_else(|_| panic!("{line}"))
}

fn bad_parameters_are_refused(client: &Client) {
    for path in ["heap", "allocs"] {
        for seconds in ["0", "-1", "301", "1.5", "x", "", "18446744073709551616"] {
            let why = refused(client, &format!("/debug/pprof/{path}?seconds={seconds}"), 400);
            assert!(why.contains(&format!("`seconds` is `{seconds}`")) && why.contains("from 1 to 300"), "{why}");
        }
        assert!(refused(client, &format!("/debug/pprof/{path}?seconds=1&debug=1"), 400).contains("no text form"));
        assert!(refused(client, &format!("/debug/pprof/{path}?debug=x"), 400).contains("a whole number from 0 to"));
        assert!(refused(client, &format!("/debug/pprof/{path}?gc=yes"), 400).contains("a whole number from 0 to"));
        client.get(&format!("/debug/pprof/{path}?gc=2&debug=7")).expect(200);
    }
}

/// jemalloc gives pages back when somebody allocates or frees; a program that does neither keeps them for ever.
fn unused_pages_are_given_back(client: &Client) {
    let resident = || {
        let memory = client.get("/api/memory").expect(200).json();
        memory["memory"]["allocator"]["resident_bytes"].as_u64().expect("a figure")
    };
    let before = resident();
    let blocks: Vec<_> = (0..64).map(|_| vec![7u8; 1 << 20]).collect();
    let most = wait_for("the blocks to be seen", || Some(resident()).filter(|now| before + (60 << 20) < *now));
    drop(black_box(blocks));
    wait_for("their pages to be given back", || {
        client.get("/debug/pprof/heap?gc=1").expect(200);
        (resident() + (48 << 20) < most).then_some(())
    });
}

fn a_delta_is_signed(client: &Client) {
    let freed = free_meanwhile(2);
    let asked = {
        let client = client.clone();
        std::thread::spawn(move || client.get("/debug/pprof/heap?seconds=1&gc=1"))
    };
    wait_for("the base to be taken", || (waiting(client) == 1).then_some(()));
    drop(freed);
    let new = keep_new(5);
    let reply = asked.join().unwrap().expect(200);
    black_box(new);

    let profile = reply.profile();
    validate(&profile, &HEAP);
    PRODUCED.lock().unwrap().push(reply.body.clone());
    let block = BLOCK as i64;
    with_list(&profile, "free_meanwhile", [0, 0, -2, -2 * block]);
    with_list(&profile, "keep_new", [5, 5 * block, 5, 5 * block]);
    assert_eq!(values_at(&profile, "keep_all_the_time"), [0; 4], "what did not change is not in it");
    let taken = Duration::from_nanos(profile.duration_nanos as u64);
    assert!(taken >= Duration::from_secs(1) && taken < common_http::PATIENCE, "{taken:?}");
    let later = SystemTime::UNIX_EPOCH + Duration::from_nanos(profile.time_nanos as u64);
    assert!(later <= SystemTime::now() && later.elapsed().unwrap() < common_http::PATIENCE, "the time of the later");
}

/// Compares the blocks; the list that keeps them is one more object of less than a block.
#[track_caller]
fn with_list(profile: &pprof::protos::Profile, name: &str, expect: [i64; 4]) {
    let seen = values_at(profile, name);
    for (seen, expect) in seen.into_iter().zip(expect) {
        let list = if expect.abs() < 100 { 1 } else { 1024 };
        assert!((seen - expect).abs() <= list, "{name}: {seen}, and not {expect}");
    }
}

fn deltas_at_once_are_bounded(client: &Client) {
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || client.get("/debug/pprof/heap?seconds=2"))
        })
        .collect();
    wait_for("four to wait", || (waiting(client) == 4).then_some(()));
    let reply = client.get("/debug/pprof/heap?seconds=1").expect(503);
    assert_eq!((reply.header("retry-after"), reply.header("x-go-pprof")), (Some("1"), Some("1")));
    for reply in asked {
        reply.join().unwrap().expect(200);
    }
    client.get("/debug/pprof/heap?seconds=1").expect(200);
}

fn the_command_line_is_told(client: &Client) {
    let reply = client.get("/debug/pprof/cmdline").expect(200);
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    let mut kernel = std::fs::read("/proc/self/cmdline").unwrap();
    assert_eq!(kernel.pop(), Some(0));
    assert_eq!(reply.body, kernel);
}

fn addresses_have_names(client: &Client) {
    let none = "num_symbols: 1\n";
    assert_eq!(client.get("/debug/pprof/symbol").expect(200).text(), none);
    assert_eq!(client.post("/debug/pprof/symbol", "").expect(200).text(), none);
    let (one, two) = (keep_new as *const () as usize, free_meanwhile as *const () as usize);
    let asked = format!("{one:#x}+0x8+{two:#x}");
    let expect =
        format!("{none}{one:#x} live_net_http_pprof::keep_new\n{two:#x} live_net_http_pprof::free_meanwhile\n");
    assert_eq!(client.post("/debug/pprof/symbol", &asked).expect(200).text(), expect, "and none for nothing");
    assert_eq!(client.get(&format!("/debug/pprof/symbol?{asked}")).expect(200).text(), expect);
    let again = format!("{asked}{}", format!("+{one:#x}").repeat(5_000));
    assert_eq!(client.post("/debug/pprof/symbol", &again).expect(200).text(), expect, "each once");

    for wrong in ["1234", "0x", "0x1+", "0x1 0x2", "0x+1", "0x10000000000000000", "<script>"] {
        let reply = client.post("/debug/pprof/symbol", wrong).expect(400);
        assert_eq!(reply.header("x-go-pprof"), Some("1"), "{wrong}");
        assert!(reply.text().contains("is not an address: allowed are 0x and hex digits"), "{}", reply.text());
    }
    let reply = client.post("/debug/pprof/symbol", &"0x1+".repeat(300_000)).expect(413);
    assert!(reply.text().contains("allowed are 1048576 bytes"), "{}", reply.text());
    let chunked = b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\n0x1\r\n0\r\n\r\n";
    Reply::parse(&client.send_raw(chunked), false).unwrap().expect(413);
}

fn snapshots_are_compared(client: &Client, profiler: &Profiler) {
    let gone = free_meanwhile(4);
    let first = profiler.snapshot().unwrap().id;
    drop(gone);
    let new = keep_new(6);
    let second = wait_for("the second snapshot to be allowed", || profiler.snapshot().ok()).id;
    black_box(new);

    let get = |path: &str| {
        let reply = client.get(path).expect(200);
        PRODUCED.lock().unwrap().push(reply.body.clone());
        reply.profile()
    };
    let (before, after) =
        (get(&format!("/api/snapshots/{first}/heap.prof")), get(&format!("/api/snapshots/{second}/heap.prof")));
    let diff = get(&format!("/api/diff/{first}/{second}/heap.prof"));
    let back = get(&format!("/api/diff/{second}/{first}/heap.prof"));
    for profile in [&before, &after, &diff, &back] {
        validate(profile, &HEAP);
    }
    let block = BLOCK as i64;
    with_list(&diff, "free_meanwhile", [0, 0, -4, -4 * block]);
    with_list(&diff, "keep_new", [6, 6 * block, 6, 6 * block]);
    let minus: Vec<i64> = totals(&after).iter().zip(totals(&before)).map(|(after, before)| after - before).collect();
    assert_eq!(totals(&diff), minus, "to the byte");
    assert_eq!(totals(&back), minus.iter().map(|value| -value).collect::<Vec<_>>());
    assert!(diff.duration_nanos > 0 && diff.time_nanos == after.time_nanos);
    assert!(diff.comment.iter().any(|&comment| string(&diff, comment).starts_with("a difference: ")));

    let same = get(&format!("/api/diff/{first}/{first}/heap.prof"));
    validate(&same, &HEAP);
    assert_eq!((same.sample.len(), functions(&same).len()), (0, 0), "nothing differs");

    for (path, status) in [
        ("/api/diff/1/99/heap.prof", 404),
        ("/api/diff/99/1/heap.prof", 404),
        ("/api/diff/x/1/heap.prof", 400),
        ("/api/diff/1/1/heap.prof?x=1", 400),
        // A diff of snapshots `1` and `heap.prof`.
        ("/api/diff/1/heap.prof", 400),
    ] {
        client.get(path).expect(status);
    }
}
