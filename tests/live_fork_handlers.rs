//! Forked children of a process with fork handlers of its own, registered before heapward's: those that run in the
//! child allocate, before any handler of heapward's could say that this is a child. And what a child does with the
//! handle that it inherited: nothing of it may hang, panic or disturb the parent.

mod common;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{Block, Child, fail_fast, fork, profiler, set_sampled, snapshot, step, wait_until};
use heapward::{ErrorKind, Profiler};

heapward::install!("lg_prof_sample:0");

/// Shards are locked for moments only: this many children meet some of them.
const CHILDREN: usize = 150;

extern "C" fn allocate_first_thing() {
    // A child that hangs here has not come to the alarm that other children are ended by.
    // SAFETY: `alarm` may be called anywhere.
    unsafe { libc::alarm(20) };
    allocate();
}

fn allocate() {
    // Enough that a child comes by every shard.
    Vec::from_iter((1..400).map(Block::new)).into_iter().for_each(Block::free);
}

#[test]
fn a_child_is_quiet_from_its_first_instruction_on() {
    fail_fast();
    // SAFETY: a function of this program; the C library lets a child's handlers allocate.
    assert_eq!(unsafe { libc::pthread_atfork(None, None, Some(allocate_first_thing)) }, 0);
    let profiler = profiler().listen("127.0.0.1:0").start().unwrap();
    let address = profiler.address().unwrap();
    snapshot(&profiler);

    step("forking");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    allocate();
                }
            });
        }
        // Walks lock every shard, for longer than a sample does.
        scope.spawn(|| {
            set_sampled(false);
            while !stop.load(Relaxed) {
                profiler.live_samples();
            }
        });
        for n in 0..CHILDREN {
            assert_eq!(fork(|| 0), Child::Exited(0), "child {n}");
        }
        stop.store(true, Relaxed);
    });

    step("starting, dropping and shutting down in a child");
    let refused = |result: heapward::Result<Profiler>| result.is_err_and(|error| error.kind() == ErrorKind::NotRunning);
    assert_eq!(fork(|| i32::from(!refused(heapward::start()))), Child::Exited(0));
    let mut inherited = Some(profiler);
    let child = fork(|| {
        inherited.take().unwrap().shutdown();
        0
    });
    assert_eq!(child, Child::Exited(0));
    let profiler = inherited.unwrap();
    assert!(TcpStream::connect(address).is_ok(), "the parent serves on");

    step("shutting down beside a child that lives on");
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for the two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let [reading, writing] = pipe;
    // SAFETY: the child calls what a signal handler may call.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut byte = 0u8;
        // SAFETY: as above; it waits until the parent closes its end, which `close` here makes the last one.
        unsafe {
            libc::close(writing);
            libc::read(reading, (&raw mut byte).cast(), 1);
            libc::_exit(0)
        }
    }
    profiler.shutdown();
    // The child closes its copy when it first runs, which may be later.
    wait_until("the port to be free beside a child that lives on", || TcpListener::bind(address).is_ok());
    // SAFETY: the descriptor is this test's own; then the child ends, which is waited for.
    unsafe {
        libc::close(writing);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}
