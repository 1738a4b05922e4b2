//! How long a round takes makes no difference to what `check_growth` says.

mod common;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{fail_fast, step};
use heapward::testing::check_growth;

heapward::install!("lg_prof_sample:12");

/// Runs of a leak, of which none may be missed. With time taken from a clock, 7 of 300 were.
const LEAKS: usize = 60;

fn work_for(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A miss takes 0.5 ms, a hit nothing: by the clock, the cache grows until the end.
fn full_cache(rounds: usize, keys: usize) {
    let mut cache: HashMap<usize, Vec<u8>> = HashMap::new();
    let mut round = 0;
    let ask = || {
        let key = round % keys;
        round += 1;
        let value = cache.entry(key).or_insert_with(|| {
            work_for(Duration::from_micros(500));
            vec![1; 3000]
        });
        black_box(value);
    };
    let check = check_growth(rounds, ask, 4096).unwrap();
    assert!(check.growth().is_none(), "{keys} keys in {rounds} rounds: {check}");
    assert_eq!(cache.len(), keys);
}

/// One round takes 100 ms, and the others next to nothing: by the clock, all growth is at one time.
fn leak_with_a_pause(pause_at: Option<usize>) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let leak = || {
        kept.push(vec![1; 2000]);
        if Some(kept.len()) == pause_at {
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let check = check_growth(400, leak, 1024).unwrap();
    assert!(check.growth().is_some(), "pause at {pause_at:?}: {check}");
}

#[test]
fn rounds_are_counted_and_not_timed() {
    fail_fast();
    step("caches that are full, with slow misses");
    full_cache(400, 200);
    full_cache(400, 100);
    full_cache(64, 32);
    step("leaks with one slow round");
    for at in [20, 200, 380, 390, 399] {
        leak_with_a_pause(Some(at));
    }
    step("a plain leak again and again");
    for _ in 0..LEAKS {
        leak_with_a_pause(None);
    }
}
