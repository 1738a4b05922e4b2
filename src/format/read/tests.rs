use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use super::*;
use crate::error::ErrorKind;
use crate::format::pprof;
use crate::profile::{Address, BuildId, Frame, Function, Location, Mapping, SAMPLE_TYPES, Unknown};

fn write(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    pprof::write(profile, &mut bytes).unwrap();
    bytes
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut MultiGzDecoder::new(bytes), &mut content).unwrap();
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

/// The same cases on every run; the test harness shows the line when a test fails.
fn config() -> ProptestConfig {
    const SEED: u64 = 0x7265_6164;
    println!("proptest seed {SEED:#x}");
    ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        3 => select(&["service::session::open", "<alloc::vec::Vec<T> as core::ops::Drop>::drop", "größe::計算::f", "a"])
            .prop_map(Arc::from),
        1 => "\\PC{1,12}".prop_map(Arc::from),
    ]
}

fn function() -> impl Strategy<Value = Function> {
    let file = prop_oneof![Just(Arc::from("")), Just(Arc::from("src/größe.rs")), name()];
    (name(), name(), file, prop_oneof![Just(0), any::<u32>()]).prop_map(|(name, system_name, file, line)| Function {
        name,
        system_name,
        file,
        line,
    })
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let id = proptest::option::of(vec(any::<u8>(), 1..21).prop_map(|bytes| BuildId(bytes.into())));
    (any::<u64>(), any::<u64>(), any::<u64>(), "\\PC{0,20}", id)
        .prop_map(|(start, limit, file_offset, path, build_id)| Mapping { start, limit, file_offset, path, build_id })
}

fn value() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -100..100i64, any::<i64>()]
}

/// What our writer can be handed: anything that the model holds.
fn profile() -> impl Strategy<Value = Profile> {
    let frame = prop_oneof![
        1 => Just(Frame::Unknown(Unknown::NotAsked)),
        2 => vec(function(), 1..4).prop_map(|functions| Frame::Known(functions.into())),
    ];
    let location = (any::<u64>(), proptest::option::of(any::<Index>()), frame);
    let sample = (vec(any::<Index>(), 0..10), proptest::array::uniform4(value()), 0..i64::MAX);
    let scalars = (0..i64::MAX as u64, 0..i64::MAX as u64, 0..i64::MAX as u64, select(&SAMPLE_TYPES));
    (
        vec(prop_oneof![mapping(), mapping()], 0..40),
        vec(location, 0..20),
        vec(sample, 0..20),
        vec("\\PC{0,30}", 0..4),
        scalars,
    )
        .prop_map(|(mut mappings, locations, samples, comments, (time, duration, interval, shown))| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(time);
            let mut profile = Profile::new(time, interval);
            mappings.sort_by_key(|mapping| mapping.start);
            profile.duration = Duration::from_nanos(duration);
            profile.default_sample_type = shown.name;
            profile.comments = comments;
            profile.locations = locations
                .into_iter()
                .map(|(address, mapping, frame)| Location {
                    address: Address(address),
                    mapping: mapping.filter(|_| !mappings.is_empty()).map(|index| index.index(mappings.len()) as u32),
                    frame,
                })
                .collect();
            profile.mappings = mappings;
            let count = profile.locations.len();
            for (stack, values, average) in samples {
                let stack = stack.into_iter().filter(|_| count > 0).map(|index| index.index(count) as u32);
                profile.push(stack, values, average);
            }
            profile
        })
}

/// Text of a heap with what its sums should be, by the formula of jeprof.
#[derive(Clone, Debug)]
struct Written {
    interval: u64,
    /// Addresses, and objects with bytes in use and ever allocated.
    stacks: Vec<(Vec<u64>, [u64; 4])>,
}

impl Written {
    fn dump(&self) -> String {
        let mut text = format!("heap_v2/{}\n  t*: 1: 2 [3: 4]\n  t7: 1: 2 [3: 4] worker\n", self.interval);
        for (addresses, [a, b, c, d]) in &self.stacks {
            let addresses: String = addresses.iter().map(|address| format!(" {address:#x}")).collect();
            text += &format!("@{addresses}\n  t*: {a}: {b} [{c}: {d}]\n  t7: {a}: {b} [{c}: {d}]\n");
        }
        text + MAPS
    }

    /// As Go and our own `debug=1` write it.
    fn text(&self, kind: &str) -> String {
        let mut text = format!("heap profile: 1: 2 [3: 4] @ {kind}\n");
        for (addresses, [a, b, c, d]) in &self.stacks {
            let addresses: String = addresses.iter().map(|address| format!(" {address:#x}")).collect();
            text += &format!("{a}: {b} [{c}: {d}] @{addresses}\n#\t0x1\tmain.f+0x1\t/src/main.go:1\n\n");
        }
        text + "# runtime.MemStats\n# Alloc = 7\n" + MAPS
    }

    /// In the order of our sample types.
    fn sums(&self, is_scaled: bool) -> [f64; 4] {
        let mut sums = [0.0; 4];
        for (_, [objects, bytes, all_objects, all_bytes]) in &self.stacks {
            for (sum, (n, b)) in sums.chunks_mut(2).zip([(all_objects, all_bytes), (objects, bytes)]) {
                let average = *b as f64 / *n as f64;
                let factor = 1.0 / (1.0 - (-average / self.interval as f64).exp());
                let factor = if *n == 0 {
                    0.0
                } else if is_scaled {
                    factor
                } else {
                    1.0
                };
                sum[0] += *n as f64 * factor;
                sum[1] += *b as f64 * factor;
            }
        }
        sums
    }
}

const MAPS: &str = "\nMAPPED_LIBRARIES:\n00001000-00003000 r-xp 00000100 fe:00 7 /srv/bin/server\n";

fn written() -> impl Strategy<Value = Written> {
    let counts = (0..1000u64, 1..2_000_000u64, 0..1000u64, 1..2_000_000u64)
        .prop_map(|(n, size, more, other)| [n, n * size, n + more, n * size + more * other]);
    let stack = (vec(0x1000..0x4000u64, 0..8), counts);
    (prop_oneof![Just(524_288), 2..10_000_000u64], vec(stack, 0..20))
        .prop_map(|(interval, stacks)| Written { interval, stacks })
}

#[track_caller]
fn check_sums(text: &str, expect: [f64; 4], stacks: usize) {
    let profile = read(text.as_bytes()).unwrap();
    assert_eq!(profile, read(&gzip(text.as_bytes())).unwrap());
    for (total, sum) in profile.totals().into_iter().zip(expect) {
        // Each stack is rounded by itself.
        let rounding = stacks as f64 / 2.0 + sum * 1e-9;
        assert!((total as f64 - sum).abs() <= rounding, "{total} and {sum}:\n{text}");
    }
    for location in &profile.locations {
        let is_inside = (0x1000..0x3000).contains(&location.address.0);
        assert_eq!(location.mapping, is_inside.then_some(0), "{location:?}");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_read_back(profile in profile()) {
        let bytes = write(&profile);
        let content = inflate(&bytes);
        prop_assert_eq!(&read(&bytes)?, &profile);
        prop_assert_eq!(&read(&content)?, &profile);
        prop_assert_eq!(&read(&gzip(&content))?, &profile);
    }

    #[test]
    fn text_is_scaled_once_by_the_average_of_each_stack(written in written()) {
        let stacks = written.stacks.len();
        let (dump, r) = (written.dump(), written.interval);
        check_sums(&dump, written.sums(true), stacks);
        check_sums(&written.text(&format!("heap_v2/{r}")), written.sums(true), stacks);
        check_sums(&written.text(&format!("heapz_v2/{r}")), written.sums(true), stacks);
        check_sums(&written.text(&format!("heap/{}", 2 * r)), written.sums(true), stacks);
        for kind in ["heapprofile", "growthz", "heap_v2", "heap_v2/1", "heap/2", "fragmentation/1024"] {
            check_sums(&written.text(kind), written.sums(false), stacks);
        }
        prop_assert_eq!(read(dump.as_bytes())?.sample_interval, r);
    }

    #[test]
    fn a_damaged_profile_is_an_answer(
        profile in profile(),
        flips in vec((any::<Index>(), 0..8u32), 1..8),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut content = inflate(&write(&profile));
        for (place, bit) in flips {
            let place = place.index(content.len());
            content[place] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        match read(&content) {
            Ok(profile) => {
                let again = read(&write(&profile))?;
                prop_assert_eq!(again.totals(), profile.totals());
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.starts_with("profile"), "{}", message);
                prop_assert!(message.len() < 1000, "{}", message);
            }
        }
    }
}

#[test]
fn an_unknown_file_is_told_what_is_allowed() {
    let check = |bytes: &[u8], found: &str| {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        let message = error.to_string();
        assert!(message.starts_with(&format!("profile: begins with {found}; allowed are profile.proto")), "{message}");
    };
    check(b"", "nothing");
    check(&gzip(b""), "nothing");
    check(b"<html><body>404 page not found</body></html>", "\"<html><body>404 page not found</body></html>\"");
    check(&gzip(b"heap_v3/1\n"), "\"heap_v3/1\\n\"");
}

#[test]
fn negative_text_stays_negative_and_addresses_are_calls() {
    let profile = read(b"heap profile: -1: -4096 [0: 0] @ heap_v2/4096\n-1: -4096 [0: 0] @ 0x11 0x21\n").unwrap();
    let scaled = 1.0 / (1.0 - (-1.0f64).exp());
    assert_eq!(profile.totals(), [0, 0, -(scaled.round() as i64), -((4096.0 * scaled).round() as i64)]);
    assert_eq!(profile.locations.iter().map(|location| location.address.0).collect::<Vec<_>>(), [0x10, 0x20]);
    assert_eq!(profile.samples[0].average_size, 4096);
    assert_eq!(profile.comments, ["alloc_* are zero: the text tells only what is in use"]);
}

#[test]
fn remarks_in_text_are_kept_and_what_go_says_of_its_memory_is_not() {
    let text = format!(
        "heap profile: 1: 8 [1: 8] @ heap_v2/1\n# partial: ask again\n1: 8 [1: 8] @ 0x9\n#\t0x9\tmain\n# 3 more stacks\n\
         # {}\n\n# runtime.MemStats\n# Alloc = 7\n{MAPS}",
        "x".repeat(2000)
    );
    let profile = read(text.as_bytes()).unwrap();
    assert_eq!(profile.comments, ["partial: ask again", "3 more stacks", &"x".repeat(1000)]);
}

/// The text, and the message or its start.
#[test]
fn text_that_is_wrong_is_told_with_its_line() {
    let check = |text: &str, expect: &str| {
        let text = text.replace('$', "heap profile: 1: 2 [3: 4] @ heap_v2/8\n");
        let message = read(text.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("heap profile text, line {expect}")), "{text}\n{message}");
    };
    check("heap profile:", "1: found \"heap profile:\", cut off by the end of the dump");
    check(
        "heap profile: 1: 2 [3: 4] @ contentionz/8\n",
        "1: found \"contentionz/8\", expected heap_v2/<R>, heapz_v2/<R>",
    );
    check("heap profile: 1: 2 [3: 4] @ heap_v2/x\n", "1: found \"x\", expected a decimal number below 2^64");
    check("heap profile: 1: 2 [3 4] @ heap_v2/1\n", "1: found \"4] @ heap_v2/1\", expected `:`");
    check("heap profile: 1: 2 [3: 4] @ heap_v2/1 x\n", "1: found \" x\", expected the end of the line");
    check("$1: 2 [3: 4] @ 0x1", "2: found \"1: 2 [3: 4] @ 0x1\", cut off by the end of the dump");
    check("$1: 2 [3: 4] 0x1\n", "2: found \"0x1\", expected `@`");
    check("$1: 2 [3: 4] @ 0x1 x2\n", "2: found \"x2\", expected an address");
    check(
        "$1: 99999999999999999999 [3: 4] @\n",
        "2: found \"99999999999999999999 [3: 4] @\", expected a decimal number from",
    );
    check("$-: 2 [3: 4] @\n", "2: found \"-: 2 [3: 4] @\", expected a decimal number from");
    check("$\n  t*: 1: 2 [3: 4]\n", "3: found \"t*: 1: 2 [3: 4]\", expected a stack");
    check("$MAPPED_LIBRARIES:\nx", "3: found \"x\", cut off by the end of the dump, expected a line of mapped");
    check(
        &format!("$1: 2 [3: 4] @{}\n", " 0x1".repeat(MAX_DEPTH + 1)),
        "2: found \"0x1\", expected at most 4096 addresses",
    );
}
