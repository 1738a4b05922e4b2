//! Trap: jemalloc's `prof.reset` frees what other threads are using. heapward never calls it: no source of heapward's
//! names it outside of a comment, and what could be tempted to (starting, pausing, resuming, ending an epoch,
//! shutting down) is done many times over while threads allocate, resize and free.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use common::{Block, Random, fail_fast, figures, profiler, set_sampled, step, wait_until};

heapward::install!("lg_prof_sample:0");

const CYCLES: usize = 50;
const PAUSES: usize = 20_000;
/// Where threads leave their blocks to each other.
const PLACES: usize = 256;

#[test]
fn nothing_resets_jemalloc_s_profile() {
    fail_fast();
    step("reading the sources");
    let mut files = 0;
    no_source_names_prof_reset(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    assert!(files > 20, "only {files} sources were found");

    let stop = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let places: Vec<Mutex<Option<Block>>> = (0..PLACES).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let (stop, rounds, places) = (&stop, &rounds, &places);
            scope.spawn(move || {
                // One short thread after the other, so that blocks outlive the threads that allocated them.
                for thread in (lane..).step_by(4).take_while(|_| !stop.load(Relaxed)) {
                    let some = || allocate_resize_and_free(places, &mut Random::of_thread(thread));
                    std::thread::scope(|scope| scope.spawn(some).join()).unwrap();
                    rounds.fetch_add(1, Relaxed);
                }
            });
        }
        set_sampled(false);
        for _ in 0..CYCLES {
            step("starting");
            let profiler = profiler().start().unwrap();
            step("taking a snapshot");
            // Each profiler takes its first at once.
            profiler.snapshot().unwrap();
            let before = rounds.load(Relaxed);
            step("pausing and resuming");
            for _ in 0..PAUSES {
                profiler.pause().unwrap();
                profiler.resume().unwrap();
            }
            profiler.live_samples();
            wait_until("threads getting on", || rounds.load(Relaxed) > before + 10);
            step("shutting down");
            profiler.shutdown();
        }
        stop.store(true, Relaxed);
    });
    let profiler = profiler().start().unwrap();
    assert_eq!(figures(&profiler).dropped_samples, 0);
    profiler.shutdown();
}

fn allocate_resize_and_free(places: &[Mutex<Option<Block>>], random: &mut Random) {
    for _ in 0..200 {
        let mut place = places[random.within(0..PLACES)].lock().unwrap();
        match place.take() {
            Some(block) if random.within(0..2) == 0 => block.free(),
            Some(mut block) => {
                block.resize(random.within(1..50_000));
                *place = Some(block);
            }
            None => *place = Some(Block::new(random.within(1..50_000))),
        }
    }
}

/// Fails on a line of a source in `folder` that has the name and is not a comment.
fn no_source_names_prof_reset(folder: &Path, files: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            no_source_names_prof_reset(&path, files);
            continue;
        }
        *files += 1;
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for (number, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            assert!(is_comment || !line.contains("prof.reset"), "{}:{}: {line}", path.display(), number + 1);
        }
    }
}
