//! A library that is loaded in the middle, with every allocation sampled: what its C code allocates with `malloc` is
//! in the live set, and the profile has a mapping for the library and the name of its function. To unload it while
//! its block lives spoils neither snapshots nor profiles. Two libraries whose code is at equal offsets are not mixed up.

#![cfg(feature = "c-malloc")]

mod common;

use std::ffi::c_void;
use std::path::Path;
use std::process::Command;

use common::{decode, fail_fast, function_names, profiler, set_sampled, snapshot, step};
use heapward::{Profiler, Selector};
use libloading::{Library, Symbol};
use pprof::protos;

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

const SOURCE: &str = "\
#include <stdlib.h>

void *greenhouse_grow(size_t size) {
    char *block = malloc(size);
    if (block) block[0] = 1; /* Something after the call, or it would be a jump and leave no frame. */
    return block;
}
";

const SIZE: usize = 54_321;

/// A block of malloc's.
type Grown = *mut c_void;

#[test]
fn a_library_loaded_later_is_seen_and_may_go_again() {
    fail_fast();
    step("compiling a library");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().canonicalize().unwrap().join("libgreenhouse.so");
    compile(&file, SOURCE);
    let profiler = profiler().start().unwrap();
    let before = Selector::Id(snapshot(&profiler).id);
    assert!(mapping(&profile_now(&profiler), &file).is_none(), "not loaded yet");

    step("calling the library");
    let library = load(&file);
    let block = grow(&library);
    assert!(is_alive(&profiler, block));
    let with_library = Selector::Id(snapshot(&profiler).id);

    step("reading profiles");
    for profile in [profile_now(&profiler), decode(&profiler.heap_prof(with_library).unwrap())] {
        let mapping = mapping(&profile, &file).expect("a mapping for the library");
        let named: Vec<_> = named(&profile, "greenhouse_grow").collect();
        assert!(!named.is_empty(), "no location has the function's name");
        for location in named {
            assert_eq!(location.mapping_id, mapping.id);
            assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address), "{location:?}");
            let bytes: i64 =
                profile.sample.iter().filter(|s| s.location_id.contains(&location.id)).map(|s| s.value[3]).sum();
            assert!(bytes >= SIZE as i64, "{bytes} bytes in use");
        }
    }

    let before = decode(&profiler.heap_prof(before).unwrap());
    assert!(mapping(&before, &file).is_none(), "it was not loaded then");

    step("unloading while the block lives");
    library.close().unwrap();
    assert!(is_alive(&profiler, block));
    let profile = profile_now(&profiler);
    assert!(mapping(&profile, &file).is_none(), "it is still loaded, so nothing was tried");
    assert_eq!(named(&profile, "greenhouse_grow").count(), 0, "a name for an address where nothing is");
    let kept = decode(&profiler.heap_prof(with_library).unwrap());
    assert!(mapping(&kept, &file).is_some(), "a snapshot knows what was loaded when it was taken");

    step("loading and unloading over and over");
    for _ in 0..5 {
        let library = load(&file);
        free(grow(&library));
        library.close().unwrap();
        profile_now(&profiler);
    }
    free(block);
    assert!(!is_alive(&profiler, block));

    step("loading two libraries with equal offsets");
    let twin = folder.path().canonicalize().unwrap().join("libgreenhaven.so");
    // A name of the same length: everything stands where it stood.
    compile(&twin, &SOURCE.replace("greenhouse_grow", "greenhaven_grow"));
    let libraries = [load(&file), load(&twin)];
    let blocks = [call(&libraries[0], b"greenhouse_grow\0"), call(&libraries[1], b"greenhaven_grow\0")];
    let profile = profile_now(&profiler);
    let [one, other] = [(&file, "greenhouse_grow"), (&twin, "greenhaven_grow")].map(|(file, name)| {
        let mapping = mapping(&profile, file).expect("a mapping for each library");
        let named: Vec<_> = named(&profile, name).collect();
        assert!(named.iter().all(|location| location.mapping_id == mapping.id), "{name} in another file");
        let offset = |location: &&protos::Location| location.address - mapping.memory_start + mapping.file_offset;
        named.iter().map(offset).collect::<Vec<u64>>()
    });
    assert_eq!(one, other, "the offsets are not equal, so nothing was tried");
    assert!(!one.is_empty());
    blocks.into_iter().for_each(free);
    profiler.shutdown();
}

/// Makes a shared library of `code`.
fn compile(file: &Path, code: &str) {
    let source = file.with_extension("c");
    std::fs::write(&source, code).unwrap();
    // jemalloc is built with one, so there is one.
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).args([file, &source]).output();
    let output = output.expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn load(file: &Path) -> Library {
    // SAFETY: the library does nothing when it is loaded or unloaded.
    unsafe { Library::new(file) }.unwrap()
}

fn grow(library: &Library) -> Grown {
    call(library, b"greenhouse_grow\0")
}

fn call(library: &Library, function: &[u8]) -> Grown {
    // SAFETY: the type is that of SOURCE.
    let grow: Symbol<'_, unsafe extern "C" fn(usize) -> Grown> = unsafe { library.get(function) }.unwrap();
    set_sampled(true);
    // SAFETY: any size will do.
    let block = unsafe { grow(SIZE) };
    set_sampled(false);
    assert!(!block.is_null());
    block
}

fn free(block: Grown) {
    // SAFETY: the callers have it from `grow`, and use it no more.
    unsafe { libc::free(block) }
}

fn is_alive(profiler: &Profiler, block: Grown) -> bool {
    let samples = profiler.live_samples();
    let requested: Vec<u64> = samples.iter().filter(|s| s.address == block as u64).map(|s| s.requested).collect();
    assert!(requested.is_empty() || requested == [SIZE as u64], "{requested:?}");
    !requested.is_empty()
}

fn profile_now(profiler: &Profiler) -> protos::Profile {
    decode(&profiler.live_heap_prof().unwrap())
}

fn mapping<'p>(profile: &'p protos::Profile, file: &Path) -> Option<&'p protos::Mapping> {
    profile.mapping.iter().find(|mapping| Path::new(&profile.string_table[mapping.filename as usize]) == file)
}

/// The locations that have a function of this name.
fn named<'p>(profile: &'p protos::Profile, name: &'p str) -> impl Iterator<Item = &'p protos::Location> {
    profile.location.iter().filter(move |location| function_names(profile, location).any(|found| found == name))
}
