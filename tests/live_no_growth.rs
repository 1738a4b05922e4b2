//! `assert_no_growth!` finds what grows and names it, and lets go what does not.

mod common;

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{fail_fast, step};
use heapward::testing::{assert_no_growth, check_growth};

heapward::install!("lg_prof_sample:12");

#[inline(never)]
fn open_session(sessions: &mut HashMap<usize, Vec<u8>>, number: usize) {
    sessions.insert(number, vec![1u8; 1500]);
}

#[inline(never)]
fn answer(number: usize) -> String {
    black_box(vec![number; 500]).iter().map(|number| number.to_string()).collect()
}

#[inline(never)]
fn remember(cache: &mut VecDeque<Vec<u8>>) {
    cache.push_back(vec![0; 3000]);
    if cache.len() > 100 {
        cache.pop_front();
    }
}

#[inline(never)]
fn leak_slowly(kept: &mut Vec<Vec<u8>>) {
    kept.push(vec![7; 640]);
}

#[test]
fn growth_is_found_and_named_and_the_rest_let_go() {
    let mut sessions = HashMap::new();
    let mut number = 0;
    let leaks = || {
        number += 1;
        black_box(answer(number));
        open_session(&mut sessions, number);
    };
    step("a map that nobody clears");
    let panic = catch_unwind(AssertUnwindSafe(|| assert_no_growth!(400, leaks))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    println!("{message}");
    assert!(message.contains("open_session") && message.contains("live_no_growth.rs:"), "{message}");
    assert!(message.contains("bytes a round") && !message.contains("answer"), "{message}");

    fail_fast();
    step("the same, but it is cleared");
    let mut sessions = HashMap::new();
    let mut number = 0;
    assert_no_growth!(400, || {
        number += 1;
        black_box(answer(number));
        open_session(&mut sessions, number);
        sessions.remove(&(number - 1));
    });

    step("a cache that fills in the first third");
    let mut cache = VecDeque::new();
    assert_no_growth!(300, || remember(&mut cache));

    step("what is set up in the first round");
    let mut table = Vec::new();
    let set_up = || {
        if table.is_empty() {
            table = vec![1u8; 4 << 20];
        }
        black_box(answer(7));
    };
    assert_no_growth!(64, set_up, 2304);

    step("few bytes a round, many rounds");
    let mut kept = Vec::new();
    let leaks_slowly = || {
        black_box(answer(3));
        leak_slowly(&mut kept);
    };
    let check = check_growth(2000, leaks_slowly, 640).unwrap();
    let growth = check.growth().expect("640 bytes a round, 1.2 MiB in all");
    let (site, [low, estimate, high]) = growth.sites().next().unwrap();
    assert!(site.contains("leak_slowly"), "{growth}");
    let truth = 2000.0 * 640.0;
    assert!(low > 0.0 && low <= estimate && estimate <= high && high < 1.5 * truth, "{growth}");

    step("nothing that is sampled");
    let check = check_growth(400, || {}, 1024).unwrap();
    assert!(check.growth().is_none());
    assert_eq!(check.detection_limit(), 369);
    assert!(check.to_string().contains("less than 369 bytes a round may go unseen"), "{check}");

    step("too few rounds");
    let error = check_growth(15, || {}, 1024).unwrap_err().to_string();
    assert_eq!(error, "rounds is 15: allowed is 16 and more");
}
