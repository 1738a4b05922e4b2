//! CPU profiles, while the heap is being sampled as hard as it can be.
#![cfg(feature = "cpu")]

mod common_http;
mod common_profile;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_http::{Client, functions, string, thread_names, values_at, wait_for, waiting};
use common_profile::{HEAP, totals, validate};
use heapward::{ByteSize, Profiler};
use pprof::protos;

// Every eighth kibibyte or so: thousands of stacks are walked in a second.
heapward::install!("lg_prof_sample:10");

const CPU: [(&str, &str); 2] = [("samples", "count"), ("cpu", "nanoseconds")];

/// Where the time goes.
#[inline(never)]
fn allocate_without_end(stop: &AtomicBool) -> Vec<u8> {
    let mut kept = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        kept = black_box((0..black_box(2000)).map(|n| n as u8).collect::<Vec<u8>>());
    }
    kept
}

#[inline(never)]
fn keep_what_was_sampled_meanwhile() -> Vec<Vec<u8>> {
    (0..black_box(100)).map(|_| black_box(vec![7; 64 * 1024])).collect()
}

#[test]
fn cpu_and_heap_are_profiled_at_once() {
    if std::env::var_os("HEAPWARD_UNWINDER").is_none() {
        let mut with_libgccs = std::process::Command::new(std::env::current_exe().unwrap());
        let status = with_libgccs.env("HEAPWARD_UNWINDER", "jemalloc").status().unwrap();
        assert!(status.success(), "with libgcc's unwinder");
    }
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::gib(1 << 20))
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || allocate_without_end(&stop))
        })
        .collect();

    for bad in ["0", "301", "x", "-1"] {
        let reply = client.get(&format!("/debug/pprof/profile?seconds={bad}")).expect(400);
        assert_eq!(reply.header("x-go-pprof"), Some("1"));
    }

    let ask = |seconds: u32| {
        let client = client.clone();
        std::thread::spawn(move || client.get(&format!("/debug/pprof/profile?seconds={seconds}")))
    };
    let waits = || waiting(&client) == 1;
    let unwinder = unwinder_of_the_heap();
    let asked = ask(3);
    wait_for("the profile to be under way", || waits().then_some(()));
    // heapward's own need no shield, and have one only in front of libgcc's.
    let is_libgccs = client.get("/api/memory").expect(200).json()["unwinder"]["name"] == "jemalloc";
    assert_eq!(is_libgccs, std::env::var_os("HEAPWARD_UNWINDER").is_some());
    assert_eq!(unwinder_of_the_heap() != unwinder, is_libgccs, "it is shielded from the signal");
    let kept = keep_what_was_sampled_meanwhile();
    let second = client.get("/debug/pprof/profile?seconds=1");
    assert_eq!((second.status, second.header("x-go-pprof")), (409, Some("1")));
    assert!(second.text().contains("a CPU profile is being taken already"), "{}", second.text());
    let heap = client.get("/debug/pprof/heap").expect(200).profile();
    validate(&heap, &HEAP);

    let reply = asked.join().unwrap().expect(200);
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"profile\""));
    is_a_cpu_profile(&reply.profile(), 3);
    assert_eq!(unwinder_of_the_heap(), unwinder, "as it was");

    // What was sampled meanwhile has its stacks.
    let heap = client.get("/debug/pprof/heap").expect(200).profile();
    assert!(values_at(&heap, "keep_what_was_sampled_meanwhile")[3] >= 100 * 64 * 1024);
    drop(kept);
    let head = b"HEAD /debug/pprof/profile?seconds=300 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(client.send_raw(head).starts_with(b"HTTP/1.1 200 "), "and takes no profile");

    // A client that leaves ends its profile.
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(profiler.address().unwrap()).unwrap();
    stream.write_all(b"GET /debug/pprof/profile?seconds=300 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    wait_for("the profile to be under way", || waits().then_some(()));
    drop(stream);
    let profile = wait_for("its turn to be free", || {
        let reply = client.get("/debug/pprof/profile?seconds=1");
        (reply.status == 200).then(|| reply.profile())
    });
    is_a_cpu_profile(&profile, 1);

    // The service's own use of the same crate comes first.
    let own = pprof::ProfilerGuard::new(100).unwrap();
    assert_eq!(client.get("/debug/pprof/profile?seconds=1").status, 409);
    drop(own);
    client.get("/debug/pprof/profile?seconds=1").expect(200);

    // Shutting down ends a profile that somebody waits for, also one on a host's own server, where nothing cuts them.
    let routes = profiler.routes();
    let asked = std::thread::spawn(move || common_http::ask(&routes, "GET", "/debug/pprof/profile?seconds=300"));
    wait_for("the profile to be under way", || (waits() && handles_sigprof()).then_some(()));
    profiler.shutdown();
    assert!(!thread_names().contains(&"heapward-wait".to_owned()) && !handles_sigprof());
    assert_eq!(asked.join().unwrap().status, 503);

    // Without names, it says so, and the signal's own frames are not in it all the same.
    let profiler = Profiler::builder()
        .profiles_dir("off")
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::gib(1 << 20))
        .symbolize(heapward::Symbolize::Never)
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    let profile = client.get("/debug/pprof/profile?seconds=1").expect(200).profile();
    validate(&profile, &CPU);
    assert!(profile.function.is_empty());
    let said = |text: &str| profile.comment.iter().any(|&comment| string(&profile, comment).contains(text));
    assert!(said("HEAPWARD_SYMBOLIZE is never") && said("locations have no name"));
    let libc = |file: &str| file.rsplit('/').next().is_some_and(|name| name.starts_with("libc.so"));
    for sample in &profile.sample {
        let leaf = &profile.location[sample.location_id[0] as usize - 1];
        let file = &profile.mapping[leaf.mapping_id as usize - 1].filename;
        assert!(!libc(string(&profile, *file)), "the signal returns through libc, where no sample is taken");
    }

    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    profiler.shutdown();
}

/// The address of what jemalloc asks for stacks.
fn unwinder_of_the_heap() -> usize {
    // SAFETY: the control gives a function pointer, which has the size of a usize.
    unsafe { tikv_jemalloc_ctl::raw::read(b"experimental.hooks.prof_backtrace\0") }.unwrap()
}

/// Whether this process has a handler for SIGPROF, which is signal 27.
fn handles_sigprof() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << 26 != 0
}

#[track_caller]
fn is_a_cpu_profile(profile: &protos::Profile, seconds: u64) {
    validate(profile, &CPU);
    assert_eq!(string(profile, profile.default_sample_type), "cpu");
    assert_eq!(profile.period, 10_000_000);
    let taken = Duration::from_nanos(profile.duration_nanos as u64);
    assert!(taken >= Duration::from_secs(seconds) && taken < common_http::PATIENCE, "{taken:?}");
    let sums = totals(profile);
    assert_eq!(sums[1], sums[0] * 10_000_000);
    assert!(sums[0] > 10, "four threads are busy, and few of their samples hit libc: {sums:?}");
    let names = functions(profile);
    assert!(names.iter().any(|name| name.contains("live_cpu::allocate_without_end")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("perf_signal_handler")), "{names:?}");
}
