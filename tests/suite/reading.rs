//! Files that others wrote, and every file that the fuzzers kept: fuzz/README.md says where those come from.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use heapward::{ErrorKind, HeapProfile};

/// Far more than any small file takes, also on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> HeapProfile {
    HeapProfile::read(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn file(name: &str) -> Vec<u8> {
    let path = folder("tests/data/reading").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// In the order of the sample types.
fn totals(profile: &HeapProfile) -> [i64; 4] {
    let totals = profile.totals();
    [totals.alloc_objects, totals.alloc_bytes, totals.inuse_objects, totals.inuse_bytes]
}

/// Reads a file and what we make of it; the sums are those of `go tool pprof -raw`.
#[track_caller]
fn check(name: &str, sums: [i64; 4], interval: Option<u64>, comments: &[&str]) -> HeapProfile {
    let profile = read(name);
    assert_eq!(totals(&profile), sums, "{name}");
    assert_eq!(profile.sample_interval(), interval, "{name}");
    assert_eq!(profile.comments(), comments, "{name}");
    let again = HeapProfile::read(&profile.heap_prof().unwrap()).unwrap();
    assert_eq!((totals(&again), again.comments()), (sums, profile.comments()), "{name}");
    assert_eq!(again.time(), profile.time());
    assert_eq!(format!("{:?}", again.top(99)), format!("{:?}", profile.top(99)), "{name}");
    profile
}

#[test]
fn our_own_profile_is_read_as_it_was_written() {
    let sums = [1265, 33_155_652, 923, 14_960_653];
    let profile = check("heapward.pb.gz", sums, Some(524_288), &["heapward 0.1.0"]);
    assert!(profile.time().unwrap() > UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let top = profile.top(2);
    assert_eq!(
        top.iter().map(|site| site.function.as_str()).collect::<Vec<_>>(),
        ["seed_tmp::fill_cache", "seed_tmp::open_session"]
    );
    assert_eq!((top[0].inuse_bytes, top[0].inuse_objects), (8_072_982, 294));
}

#[test]
fn profiles_of_go_are_read() {
    let sums = [487, 1_627_598, 241, 297_184];
    let heap = check("go_heap.pb.gz", sums, Some(4096), &[]);
    assert_eq!(heap.top(1)[0].function, "main.keep");
    // The same heap, as text: its numbers are samples, and its rate is doubled.
    let text = read("go_heap_debug1.txt");
    for (ours, gos) in totals(&text).into_iter().zip(sums) {
        // Go cuts the fraction off for each of ten stacks, we round.
        assert!((0..=10).contains(&(ours - gos)), "{ours} and {gos}");
    }
    assert_eq!((text.sample_interval(), text.time()), (Some(4096), None));
    let allocs = read("go_allocs.pb.gz");
    assert_eq!(allocs.top(1)[0].function, "main.drop");
    let error = HeapProfile::read(&file("go_goroutine.pb.gz")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(
        error.to_string().contains("its sample types are \"goroutine/count\"; allowed are alloc_objects/count"),
        "{error}"
    );
}

#[test]
fn jemallocs_dump_and_what_jemalloc_pprof_makes_of_one_are_read() {
    let missing = "zero here, because the file has none: alloc_objects, alloc_space, inuse_objects";
    let theirs = check("jemalloc_pprof.pb.gz", [0, 0, 0, 14_959_361], None, &[missing]);
    let ours = read("jemalloc_heap_v2.txt");
    assert_eq!(ours.comments(), ["alloc_* are zero: the text tells only what is in use"]);
    assert_eq!(ours.sample_interval(), Some(524_288));
    // The same two stacks, dumped just before; it cuts the fraction off.
    let difference = ours.totals().inuse_bytes - theirs.totals().inuse_bytes;
    assert!((0..=2).contains(&difference), "{difference}");
    // It writes addresses as the linker laid them out, we tell the place in the file: a page apart here.
    assert_eq!((&*ours.top(1)[0].function, &*theirs.top(1)[0].function), ("server+0xbbc568", "server+0xbbd568"));
}

#[test]
fn whatever_the_fuzzers_kept_is_an_answer() {
    for target in ["pprof", "heap_v2"] {
        let corpus = folder("fuzz/corpus").join(target);
        let entries = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
        let mut taken = 0;
        let mut refused = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let start = Instant::now();
            match HeapProfile::read(&bytes) {
                Ok(profile) => {
                    taken += 1;
                    let again = profile.heap_prof().and_then(|bytes| HeapProfile::read(&bytes));
                    let again = again.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                    assert_eq!(totals(&again), totals(&profile), "{}", path.display());
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.kind(), ErrorKind::Malformed, "{}: {error}", path.display());
                }
            }
            let time = start.elapsed();
            assert!(time < PATIENCE, "{}: {time:?}", path.display());
        }
        println!("{target}: {taken} files read, {refused} refused");
        // One that is all of one kind has lost its seeds.
        assert!(taken >= 5 && refused >= 5, "{}: {taken} files read, {refused} refused", corpus.display());
    }
}
