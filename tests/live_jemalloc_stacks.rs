//! What jemalloc is told of stacks, by its own dump: each case in a process of its own.

mod common;

use std::ffi::CString;
use std::hint::black_box;
use std::process::Command;

use common::{fail_fast, profiler, sampled};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

/// Set in a child process, to whether the program asks for jemalloc's stacks.
const ROLE: &str = "LIVE_JEMALLOC_STACKS_ROLE";
/// Different call chains: 2^6, in each of two threads.
const TURNS: u32 = 6;

#[test]
fn jemalloc_has_one_stack_unless_it_is_asked_for_all() {
    if let Ok(role) = std::env::var(ROLE) {
        return child(role == "true");
    }
    // Of heapward's live set, and of jemalloc's dump.
    assert_eq!(stacks("false", &[]), (128, 1));
    assert_eq!(stacks("true", &[]), (128, 128));
    assert_eq!(stacks("false", &[("HEAPWARD_JEMALLOC_STACKS", "true")]), (128, 128));
    assert_eq!(stacks("true", &[("HEAPWARD_JEMALLOC_STACKS", "false")]), (128, 1));
    // It walks them itself.
    assert_eq!(stacks("false", &[("HEAPWARD_UNWINDER", "jemalloc")]), (128, 128));
}

fn stacks(role: &str, variables: &[(&str, &str)]) -> (usize, usize) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.env_remove("HEAPWARD_JEMALLOC_STACKS").env_remove("HEAPWARD_UNWINDER").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let counts = text.lines().find_map(|line| line.strip_prefix("stacks: ")).unwrap_or_else(|| panic!("{text}"));
    let (ours, jemallocs) = counts.split_once(' ').unwrap();
    (ours.parse().unwrap(), jemallocs.parse().unwrap())
}

fn child(jemalloc_stacks: bool) {
    fail_fast();
    let profiler = profiler().jemalloc_stacks(jemalloc_stacks).start().unwrap();
    let thread = || (0..1 << TURNS).map(|turns| sampled(|| descend(turns, TURNS))).collect::<Vec<_>>();
    let kept = [std::thread::spawn(thread).join().unwrap(), thread()];

    let samples = profiler.live_samples();
    let mut ours: Vec<u32> = Vec::new();
    for block in kept.iter().flatten() {
        let sample = samples.iter().find(|sample| sample.address == block.as_ptr() as u64).expect("sampled");
        // And all frames: those of the chain, of the thread below it and of the allocator above.
        assert!(sample.depth > TURNS as usize + 8, "{sample:?}");
        ours.push(sample.stack);
    }
    ours.sort_unstable();
    ours.dedup();

    let file = tempfile::NamedTempFile::new().unwrap();
    let path = CString::new(file.path().to_str().unwrap()).unwrap();
    // SAFETY: `prof.dump` takes a pointer to a C string, which lives until the call returns.
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.dump\0", path.as_ptr()) }.unwrap();
    let dump = std::fs::read_to_string(file.path()).unwrap();
    let jemallocs = dump.lines().filter(|line| line.starts_with('@')).count();
    println!("\nstacks: {} {jemallocs}", ours.len());
    profiler.shutdown();
    drop(kept);
}

/// An object at the end of `calls` calls, on the way that the bits of `turns` say.
fn descend(turns: u32, calls: u32) -> Box<[u8; 100]> {
    match (calls, turns & 1) {
        (0, _) => black_box(Box::new([1; 100])),
        (_, 0) => left(turns >> 1, calls - 1),
        _ => right(turns >> 1, calls - 1),
    }
}

#[inline(never)]
fn left(turns: u32, calls: u32) -> Box<[u8; 100]> {
    let object = descend(turns, calls);
    black_box(0);
    object
}

#[inline(never)]
fn right(turns: u32, calls: u32) -> Box<[u8; 100]> {
    let object = descend(turns, calls);
    black_box(1);
    object
}
