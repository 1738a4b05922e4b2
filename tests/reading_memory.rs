//! What a hostile profile can make a reader hold: counted, byte by byte, by this program's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use heapward::HeapProfile;

/// Counts bytes that are held. A block that grows counts twice while it is copied, as it does where it cannot stay.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(held, Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
/// What any file may take, and what each of its bytes adds, as the documentation says.
const FLOOR: usize = 128 * MIB;
const PER_BYTE: usize = 16;

/// The most bytes held at once while `bytes` are read, and what came of it.
fn measure(bytes: &[u8]) -> (usize, Result<HeapProfile, heapward::Error>) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let profile = HeapProfile::read(bytes);
    (PEAK.load(Relaxed) - before, profile)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// `start`, then `piece` again and again, in gzip members of a mebibyte each.
fn bomb(start: &[u8], piece: &[u8], content_mib: usize) -> Vec<u8> {
    let member = gzip(&piece.repeat((MIB / piece.len()).max(1)));
    let mut bytes = gzip(start);
    (0..content_mib).for_each(|_| bytes.extend(&member));
    bytes
}

/// The start of a heap profile: a sample type of the strings that follow.
const START: &[u8] = b"\x0a\x04\x08\x01\x10\x02\x32\x00\x32\x0binuse_space\x32\x05bytes";

/// Reads something hostile: what it holds at most, and how its error begins.
fn check(name: &str, bytes: &[u8], most: usize, expect: &str) {
    let start = Instant::now();
    let (peak, answer) = measure(bytes);
    let message = answer.map(|profile| format!("{profile:?}")).unwrap_or_else(|error| error.to_string());
    println!(
        "{name:28} {:9} bytes, at most {:6.2} MiB held, {:5.1} s: {message}",
        bytes.len(),
        peak as f64 / MIB as f64,
        start.elapsed().as_secs_f64()
    );
    assert!(message.starts_with(expect), "{name}: {message}");
    assert!(peak <= most, "{name}: {peak} bytes held, {most} allowed");
}

#[test]
fn no_file_makes_a_reader_hold_more_than_its_budget() {
    let too_much = "profile: holding it would take more than ";
    // Growing a list holds it twice for a moment: half as much again at most.
    let budget = |file: usize| (FLOOR + PER_BYTE * file) / 2 * 3 + MIB;

    // 1 GiB of nothing, out of 1 MiB: skipped as it comes.
    let unknown = [&[0x9a, 6][..], &[0x80, 0x80, 0x40], &[0; MIB]].concat();
    let bytes = bomb(START, &unknown, 1024);
    assert!(bytes.len() < 5 * MIB / 4, "{}", bytes.len());
    check(
        "unknown fields, 1 GiB",
        &bytes,
        MIB / 4,
        "profile.proto, byte 1072698391: field 99 has a length of 1048576 bytes, at most 1043428 can follow",
    );
    let bytes = bomb(b"\x9a\x06\x80\x80\x80\x20", &[0], 65);
    check("one unknown field, 64 MiB", &bytes, MIB / 4, "profile.proto, byte 67108870: field number 0");

    // Small messages that each cost more than they take.
    let packed = [&b"\x6a\x7e"[..], &[0; 126]].concat();
    let pieces: [(&str, &[u8]); 3] =
        [("empty strings", b"\x32\x00"), ("packed comments", &packed), ("samples", b"\x12\x02\x10\x01")];
    for (name, piece) in pieces {
        let bytes = bomb(START, piece, 12);

        check(name, &bytes, budget(bytes.len()), too_much);
    }
    // Ids must differ, so these do not compress as well.
    let numbered = |field: u8, count: u32| {
        let mut content = START.to_vec();
        for id in 1..=count {
            let id = [id as u8 | 0x80, (id >> 7) as u8 | 0x80, (id >> 14) as u8 & 0x7f];
            content.extend([field << 3 | 2, 4, 8]);
            content.extend(id);
        }
        gzip(&content)
    };
    for (name, field) in [("a million mappings", 3), ("a million locations", 4), ("a million functions", 5)] {
        let bytes = numbered(field, 1_000_000);
        check(name, &bytes, budget(bytes.len()), "");
    }

    // One long name that every mapping has.
    let mut content = [START, b"\x32\x80\x80\x04", &[b'n'; 1 << 16]].concat();
    for id in 1..=10_000u32 {
        content.extend([3 << 3 | 2, 5, 8, id as u8 | 0x80, (id >> 7) as u8, 5 << 3, 3]);
    }
    let bytes = gzip(&content);
    check("a long name 10,000 times", &bytes, budget(bytes.len()), too_much);

    // Lengths that nothing stands behind.
    for field in 1..=15u8 {
        let bytes = [START, &[field << 3 | 2], b"\x80\x80\x80\x80\x80\x80\x80\x80\x10"].concat();
        check("a length of 2^60", &bytes, MIB / 4, "profile.proto, byte 28: field ");
        let bytes = [START, &[field << 3 | 2], b"\xff\xff\xff\xff\x01"].concat();
        check("a length of 2^29 - 1", &bytes, MIB / 4, "profile.proto, byte ");
    }

    // Text.
    let bytes = bomb(b"heap_v2/1\n  t*: 1: 2 [3: 4]\n", b"@ 0x1\n  t*: 1: 2 [3: 4]\n", 64);
    check("stacks of a dump", &bytes, budget(bytes.len()), too_much);
    let bytes = bomb(b"heap profile: 1: 2 [3: 4] @ heap_v2/1\n", b"1: 1 [1: 1] @\n", 24);
    check("stacks of a text", &bytes, budget(bytes.len()), too_much);
    let bytes = [b"heap_v2/1\n  t*: 1: 2 [3: 4]\n@".to_vec(), b" 0x1".repeat(MIB), b"\n".to_vec()].concat();
    check("a stack of a million frames", &bytes, MIB / 4, "heap_v2 dump, line 3: found \"0x1 0x1");
    let text: String = (0..200_000).map(|n| format!("1: 1 [1: 1] @ {:#x} {:#x}\n", 4 * n + 1, 4 * n + 3)).collect();
    let text = format!("heap profile: 1: 2 [3: 4] @ heap_v2/1\n{text}");
    check("400,000 addresses, plain", text.as_bytes(), budget(text.len()), "");
    let text: String = (0..200_000).map(|n| format!("{:x}-{:x} r-xp 0 0:0 0 /a\n", n * 16, n * 16 + 9)).collect();
    let text = format!("heap_v2/1\n  t*: 1: 2 [3: 4]\n\nMAPPED_LIBRARIES:\n{text}");
    check("200,000 mapped libraries", text.as_bytes(), budget(text.len()), "");

    // What is no bomb is not refused: as many stacks as we keep, as deep as jemalloc walks, and all alike.
    let mut content = [START, b"\x22\x02\x08\x01"].concat();
    let sample = [&b"\x12\x85\x01\x0a\x80\x01"[..], &[1; 128], b"\x10\x05"].concat();
    (0..131_072).for_each(|_| content.extend(&sample));
    check("131,072 deep stacks, plain", &content, 72 * MIB, "HeapProfile");
    let bytes = gzip(&content);
    check("131,072 deep stacks, gzip", &bytes, 72 * MIB, "HeapProfile");
}
