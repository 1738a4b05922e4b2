//! `check_growth` does not answer when it could not look, and leaves sampling as it was.

mod common;

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{fail_fast, set_sampled, step};
use heapward::testing::{assert_no_growth, check_growth};
use heapward::{ErrorKind, Profiler};
use tikv_jemalloc_ctl::raw;

heapward::install!("lg_prof_sample:12");

fn set_active(active: bool) {
    // SAFETY: `prof.active` is a bool.
    unsafe { raw::write(b"prof.active\0", active) }.unwrap();
}

fn is_active() -> bool {
    // SAFETY: `prof.active` is a bool.
    unsafe { raw::read(b"prof.active\0") }.unwrap()
}

/// A leak of 800 KB in 400 rounds, during which `also` is done in each.
#[track_caller]
fn check(also: &mut dyn FnMut(usize), kind: ErrorKind, says: &str) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let leak = || {
        kept.push(vec![1; 2000]);
        also(kept.len());
    };
    let error = check_growth(400, leak, 1024).expect_err("it could not look");
    assert!(error.kind() == kind && error.to_string().contains(says), "{error:?}");
}

fn start() -> Profiler {
    Profiler::builder().listen("off").profiles_dir("off").start().unwrap()
}

#[test]
fn what_cannot_be_seen_is_no_pass() {
    step("the closure panics");
    assert!(!is_active());
    let panics = || check_growth(400, || panic!("the closure's own"), 1024);
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert!(!is_active(), "after a panic");

    step("checks within checks, by the macro");
    let nested = || assert_no_growth!(400, || assert_no_growth!(400, || {}));
    let panic = catch_unwind(nested).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("cannot tell") && message.contains("closure of another check"), "{message}");

    fail_fast();
    step("checks within checks");
    let mut inner = Vec::new();
    let outer = check_growth(16, || inner.push(check_growth(16, || {}, 1 << 20).err().map(|e| e.kind())), 1 << 20);
    assert!(outer.is_ok(), "{outer:?}");
    assert_eq!(inner, vec![Some(ErrorKind::AlreadyRunning); 16]);
    assert!(!is_active());

    step("sampling switched off by a host");
    check(
        &mut |round| {
            if round == 40 {
                set_active(false)
            }
        },
        ErrorKind::Allocator,
        "switched off meanwhile",
    );
    step("in the last round");
    check(
        &mut |round| {
            if round == 400 {
                set_active(false)
            }
        },
        ErrorKind::Allocator,
        "switched off meanwhile",
    );

    step("switched on again at the end of each round");
    set_active(false);
    let off_within = || {
        set_active(false);
        drop(black_box(vec![1u8; 200_000]));
        set_active(true);
    };
    let error = check_growth(400, off_within, 1024).expect_err("nothing was sampled").to_string();
    assert!(error.contains("none was sampled"), "{error}");

    step("a thread that is not sampled");
    check(
        &mut |round| {
            if round == 40 {
                set_sampled(false)
            }
        },
        ErrorKind::Allocator,
        "thread.prof.active",
    );
    check(&mut |_| {}, ErrorKind::Allocator, "thread.prof.active");
    set_sampled(true);

    step("a profiler that is shut down meanwhile");
    let mut profiler = Some(start());
    let mut shut_down = |round| {
        if round == 40 {
            profiler.take().unwrap().shutdown();
        }
    };
    check(&mut shut_down, ErrorKind::Allocator, "Profiler::shutdown");
    assert!(!is_active(), "it was shut down");
    step("and started again in the same round");
    let mut profiler = Some(start());
    let mut start_again = |round| {
        if round == 40 {
            profiler.take().unwrap().shutdown();
            profiler = Some(start());
        }
    };
    check(&mut start_again, ErrorKind::Allocator, "Profiler::shutdown");
    assert!(is_active(), "it runs");

    step("beside a profiler that runs on");
    let kept = check_growth(400, || drop(black_box(vec![1u8; 2000])), 1024).unwrap();
    assert!(kept.growth().is_none(), "{kept}");
    assert!(is_active(), "the profiler still runs");
    profiler.unwrap().shutdown();

    step("a profiler that is started meanwhile and runs on");
    assert!(!is_active());
    let mut profiler = None;
    let started = check_growth(400, || _ = profiler.get_or_insert_with(start), 1024).unwrap();
    assert!(started.growth().is_none(), "{started}");
    assert!(is_active(), "it runs on");
}
