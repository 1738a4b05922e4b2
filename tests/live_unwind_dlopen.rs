//! A library that is loaded in the middle: stacks through it are whole at once, before the unwinder has read the list of
//! loaded files again, and after, when it looks the library's rules up itself. Unloaded and loaded again, over and over, no
//! rule of one file is taken for another's at the same place.

#![cfg(feature = "c-malloc")]

mod common;

use std::ffi::c_void;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{fail_fast, memory, profiler, set_sampled, step, wait_until};
use heapward::Profiler;
use libloading::{Library, Symbol};

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

/// FRAME is the size of the function's frame.
const SOURCE: &str = "\
void greenhouse_call(void (*callback)(void *), void *argument) {
    volatile char room[FRAME];
    room[0] = 1;
    callback(argument);
    room[1] = 2; /* Something after the call, or it would be a jump and leave no frame. */
}
";

static DEPTH: AtomicUsize = AtomicUsize::new(0);

#[test]
fn stacks_through_a_library_are_whole() {
    fail_fast();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libgreenhouse.so");
    step("without a refresh");
    compile(&file, 64);
    // It polls once at its start, and not again.
    let profiler = profiler().poll_interval(Duration::from_secs(3600)).start().unwrap();
    assert_ne!(memory(&profiler)["unwinder"]["name"], "jemalloc", "nothing would be tried");
    profiler.compare_unwinders().unwrap();
    let polls = |profiler: &Profiler| memory(profiler)["watcher"]["polls"].as_u64().unwrap();
    wait_until("waiting for the first poll", || polls(&profiler) == 1);
    let figure = |profiler: &Profiler, name: &str| memory(profiler)["unwinder"][name].as_u64().unwrap();
    let before = figure(&profiler, "borrowed_stacks");
    let library = load(&file);
    for _ in 0..3 {
        assert_whole(&profiler, || call(&library));
    }
    assert_eq!(figure(&profiler, "borrowed_stacks"), before + 3, "libgcc did those");
    library.close().unwrap();
    profiler.shutdown();

    step("with refreshes");
    let profiler = common::profiler().poll_interval(Duration::from_millis(10)).start().unwrap();
    profiler.compare_unwinders().unwrap();
    for round in 0..6 {
        // Another frame at the same place: code of the same length in a file of the same name.
        compile(&file, [64, 4096][round % 2]);
        let refreshes = figure(&profiler, "module_refreshes");
        let library = load(&file);
        assert_whole(&profiler, || call(&library));
        wait_until("waiting for a refresh", || figure(&profiler, "module_refreshes") > refreshes);
        let before = figure(&profiler, "borrowed_stacks");
        for _ in 0..3 {
            assert_whole(&profiler, || call(&library));
        }
        assert_eq!(figure(&profiler, "borrowed_stacks"), before, "round {round}: its rules are looked up");
        library.close().unwrap();
        // At once, most likely at the same place, and before the next refresh.
        compile(&file, [4096, 64][round % 2]);
        let library = load(&file);
        assert_whole(&profiler, || call(&library));
        library.close().unwrap();
    }

    step("while others walk");
    let before = figure(&profiler, "module_refreshes");
    let stop = AtomicBool::new(false);
    let other = folder.path().join("libother.so");
    compile(&other, 256);
    let library = load(&other);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    call(&library);
                    set_sampled(true);
                    black_box((0..10).map(|n| vec![0u8; n * 100]).collect::<Vec<_>>());
                    set_sampled(false);
                }
            });
        }
        wait_until("waiting for refreshes", || {
            let library = load(&file);
            call(&library);
            library.close().unwrap();
            figure(&profiler, "module_refreshes") >= before + 10
        });
        stop.store(true, Ordering::Relaxed);
    });
    let compared = profiler.compared_unwinders();
    assert_eq!(compared.equal, compared.walks, "{compared:x?}");
    assert_eq!(figure(&profiler, "truncated_stacks"), 0);
    profiler.shutdown();
}

/// Checks that the stacks of what `work` allocates are libgcc's.
#[track_caller]
fn assert_whole(profiler: &Profiler, work: impl FnOnce()) {
    let before = profiler.compared_unwinders();
    work();
    let after = profiler.compared_unwinders();
    assert!(after.walks > before.walks);
    assert_eq!(after.equal, after.walks, "{after:x?}");
    assert!(DEPTH.load(Ordering::Relaxed) > 0);
    let frames = (after.frames - before.frames) / (after.walks - before.walks);
    assert!(frames > 10, "{frames} frames: up to the thread's root");
}

extern "C" fn allocate(_argument: *mut c_void) {
    set_sampled(true);
    black_box(Box::new([0u8; 100]));
    set_sampled(false);
    DEPTH.fetch_add(1, Ordering::Relaxed);
}

fn call(library: &Library) {
    type Call = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);
    // SAFETY: the type is that of SOURCE.
    let call: Symbol<'_, Call> = unsafe { library.get(b"greenhouse_call\0") }.unwrap();
    // SAFETY: the callback ignores its argument.
    unsafe { call(allocate, std::ptr::null_mut()) };
}

/// Makes a shared library of SOURCE.
fn compile(file: &Path, frame: usize) {
    let source = file.with_extension("c");
    std::fs::write(&source, SOURCE).unwrap();
    // jemalloc is built with one, so there is one.
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-fomit-frame-pointer", &format!("-DFRAME={frame}"), "-o"])
        .args([file, &source])
        .output();
    let output = output.expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn load(file: &Path) -> Library {
    // SAFETY: the library does nothing when it is loaded or unloaded.
    unsafe { Library::new(file) }.unwrap()
}
