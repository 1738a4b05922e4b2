use super::*;
use crate::error::ErrorKind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

/// As jemalloc 5.3.1 wrote it with `prof_accum` and `prof_sys_thread_name`, made shorter. The stacks are, in order: one
/// of two threads, one whose samples are all freed, one whose unbiased counts are all 0, and one without addresses.
const DUMP: &str = "\
heap_v2/524288
  t*: 133: 70412264 [141: 71460840]
  t0: 15: 1256 [23: 1049832] server
  t1: 0: 0 [0: 0]
  t12: 118: 70411008 [118: 70411008] wor [0] x: 3
@ 0x560295ef7be1 0x560295ef7cbf 0x560295e1f448 0x7f02c5e42e40
  t*: 121: 70411496 [121: 70411496]
  t0: 3: 488 [3: 488]
  t12: 118: 70411008 [118: 70411008]
@ 0x560295ef7be1 0x560295b04b57 0xffffffffff600000
  t*: 0: 0 [8: 1048576]
  t0: 0: 0 [8: 1048576]
@ 0x560295ef7be1 0x1
  t*: 0: 0 [0: 0]
  t0: 0: 0 [0: 0]
@
  t*: 12: 768 [12: 768]
  t0: 12: 768 [12: 768]

MAPPED_LIBRARIES:
560295a92000-560295afe000 r--p 00000000 fe:00 10012248                   /srv/bin/server
560295afe000-560295fb1000 r-xp 0006b000 fe:00 10012248                   /srv/bin/server
7f02c5e19000-7f02c5e41000 r--p 00000000 fe:00 1054                       /usr/lib/libc.so.6

7ffd0f3b8000-7ffd0f3d9000 rw-p 00000000 00:00 0                          [stack]
";

fn stack(addresses: &[u64], counts: [u64; 4]) -> DumpStack {
    Counts(counts).stack(addresses.iter().copied().map(ReturnAddress).collect())
}

/// The whole message of the error that `text` must give.
fn malformed(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    match parse(text) {
        Ok(dump) => panic!("{}: taken as {dump:?}", text.escape_ascii()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Malformed);
            error.to_string()
        }
    }
}

#[test]
fn reads_what_jemalloc_writes() {
    let dump = parse(DUMP.as_bytes()).unwrap();

    assert_eq!(dump.sample_interval, 524_288);
    let expected = [
        stack(&[0x560295ef7be1, 0x560295ef7cbf, 0x560295e1f448, 0x7f02c5e42e40], [121, 70_411_496, 121, 70_411_496]),
        stack(&[0x560295ef7be1, 0x560295b04b57, 0xffffffffff600000], [0, 0, 8, 1_048_576]),
        stack(&[], [12, 768, 12, 768]),
    ];
    assert_eq!(dump.stacks, expected);
    let maps = DUMP.split_once("MAPPED_LIBRARIES:\n").unwrap().1;
    assert_eq!(&*dump.mapped_libraries, maps.as_bytes());
}

#[test]
fn reads_the_least_that_is_a_dump() {
    for (tail, maps) in [("", ""), ("\nMAPPED_LIBRARIES:\n", ""), ("MAPPED_LIBRARIES:\nx\n", "x\n")] {
        let dump = parse(format!("heap_v2/1\n  t*: 0: 0 [0: 0]\n{tail}").as_bytes()).unwrap();
        assert_eq!(dump.sample_interval, 1);
        assert_eq!(dump.stacks, []);
        assert_eq!(&*dump.mapped_libraries, maps.as_bytes());
    }
}

#[test]
fn keeps_a_stack_with_any_count_above_zero() {
    for place in 0..4 {
        let mut counts = [0; 4];
        counts[place] = u64::MAX;
        let text = write(&[(stack(&[u64::MAX], counts), Vec::new())], &[], b"");
        assert_eq!(parse(&text).unwrap().stacks, [stack(&[u64::MAX], counts)]);
    }
}

/// The dump, the line, what was found there and how that begins which was expected. `$` is a sound beginning of two lines.
const MALFORMED: &str = r#"
                                          | 1 | the end of the dump | the header `heap_v2/<sample interval>`
\n                                            | 1 | the end of the line | the header
@ 0x1\n                                       | 1 | "@ 0x1" | the header
heap_v1/8\n                                   | 1 | "heap_v1/8" | the header
 heap_v2/8\n                                  | 1 | " heap_v2/8" | the header
heap_v2/\n                                    | 1 | the end of the line | a decimal number
heap_v2/0\n                                   | 1 | "0" | a sample interval of at least 1 byte
heap_v2/+8\n                                  | 1 | "+8" | a decimal number
heap_v2/8\r\n                                 | 1 | "\r" | the end of the line
heap_v2/18446744073709551616\n                | 1 | "18446744073709551616" | a decimal number below 2^64
heap_v2/8                                     | 1 | "heap_v2/8", cut off by the end of the dump | the header

heap_v2/8\n                                   | 2 | the end of the dump | the line `  t*: <n>:
heap_v2/8\n@ 0x1\n                            | 2 | "@ 0x1" | the line `  t*: <n>:
heap_v2/8\n  t1: 1: 2 [3: 4]\n                | 2 | "  t1: 1: 2 [3: 4]" | the line `  t*: <n>:
heap_v2/8\n  t*: 1: 2\n                       | 2 | the end of the line | ` [`
heap_v2/8\n  t*: 1: 2 [3: 4] main\n           | 2 | " main" | the end of the line
$  t*: 1: 2 [3: 4]\n                          | 3 | "  t*: 1: 2 [3: 4]" | one `  t*` line at most

$  tx: 1: 2 [3: 4]\n                          | 3 | "x: 1: 2 [3: 4]" | a decimal number
$  t7 1: 2 [3: 4]\n                           | 3 | " 1: 2 [3: 4]" | `: `
$  t7: 1: 2 [3: 4\n                           | 3 | the end of the line | `]`
$  t7: 1: 2 [3: 4]main\n                      | 3 | "main" | a blank and the thread's name
$  t7: 1: 2 [3: 4                             | 3 | "  t7: 1: 2 [3: 4", cut off by the end of the dump | a stack
$  t18446744073709551616: 1: 2 [3: 4]\n       | 3 | "18446744073709551616: 1: 2 [3: 4]" | a decimal number below 2^64

$@0x1\n                                       | 3 | "0x1" | a blank and an address
$@ \n                                         | 3 | the end of the line | an address
$@ 0x1  0x2\n                                 | 3 | " 0x2" | an address
$@ 0x1 12\n                                   | 3 | "12" | an address: `0x` and hex digits, below 2^64
$@ 0x1 0x\n                                   | 3 | "0x" | an address
$@ 0x1 0x+2\n                                 | 3 | "0x+2" | an address
$@ 0x1 0x1g 0x2\n                             | 3 | "0x1g 0x2" | an address
$@ 0x10000000000000000\n                      | 3 | "0x10000000000000000" | an address
$@ 0x1 0x2                                    | 3 | "@ 0x1 0x2", cut off by the end of the dump | a stack
$@ 0x1\n                                      | 4 | the end of the dump | the line `  t*: <n>:
$@ 0x1\n@ 0x2\n                               | 4 | "@ 0x2" | the line `  t*: <n>:
$@ 0x1\n\nMAPPED_LIBRARIES:\n                 | 4 | the end of the line | the line `  t*: <n>:
$@ 0x1\n  t7: 1: 2 [3: 4]\n                   | 4 | "  t7: 1: 2 [3: 4]" | the line `  t*: <n>:
$@ 0x1\n  t*: 1: -2 [3: 4]\n                  | 4 | "-2 [3: 4]" | a decimal number
$@ 0x1\n  t*: 1: 2 [3: 4                      | 4 | "  t*: 1: 2 [3: 4", cut off by the end of the dump | the line `  t*: <n>:
$@ 0x1\n  t*: 1: 2 [3: 18446744073709551616]\n| 4 | "18446744073709551616]" | a decimal number below 2^64
$@\n  t*: 1: 2 [3: 4]\n  t*: 1: 2 [3: 4]\n    | 5 | "  t*: 1: 2 [3: 4]" | one `  t*` line at most
$@\n  t*: 1: 2 [3: 4]\n  t7: 1: 2 [3: 4]\n  t*| 6 | "  t*", cut off by the end of the dump | a stack

$\n                                           | 4 | the end of the dump | `MAPPED_LIBRARIES:`
$\n@ 0x1\n                                    | 4 | "@ 0x1" | `MAPPED_LIBRARIES:`
$MAPPED_LIBRARIES: x\n                        | 3 | " x" | the end of the line
$\nMAPPED_LIBRARIES:                          | 4 | "MAPPED_LIBRARIES:", cut off by the end of the dump | `MAPPED_LIBRARIES:`
$\nMAPPED_LIBRARIES:\na\nb                    | 6 | "b", cut off by the end of the dump | a line of mapped libraries

$t7: 1: 2 [3: 4]\n                            | 3 | "t7: 1: 2 [3: 4]" | a stack
$heap_v2/8\n                                  | 3 | "heap_v2/8" | a stack
$ü"\r\n                                       | 3 | "\xc3\xbc\"\r" | a stack
"#;

#[test]
fn says_where_and_what_is_wrong() {
    for row in MALFORMED.lines().filter(|row| !row.is_empty()) {
        let [text, line, found, expected] =
            row.splitn(4, '|').map(str::trim_end).collect::<Vec<_>>().try_into().unwrap();
        let text = text.replace('$', "heap_v2/8\n  t*: 1: 2 [3: 4]\n").replace(r"\n", "\n").replace(r"\r", "\r");
        let start = format!("heap_v2 dump, line{line}: found{found}, expected{expected}");
        let message = malformed(text);
        assert!(message.starts_with(&start), "row {row}\n got {message}\nwant {start}");
    }
}

#[test]
fn shows_no_more_than_60_bytes() {
    fn check(found: &[u8], shown: &str) {
        let message = malformed([b"heap_v2/8\n  t*: 1: 2 [3: 4]\n", found, b"\n"].concat());
        let start = format!("heap_v2 dump, line 3: found \"{shown}\", expected ");
        assert!(message.starts_with(&start), "{message}");
    }

    check(&[b'z'; 60], &"z".repeat(60));
    check(&[b'z'; 61], &("z".repeat(57) + "..."));
    check(&[b'z'; 1000], &("z".repeat(57) + "..."));
    check(&[0xff; 15], &r"\xff".repeat(15));
    // Never a part of an escape.
    check(&[0xff; 16], &(r"\xff".repeat(14) + "..."));
}

#[test]
fn a_cut_is_an_error_save_between_whole_parts() {
    let whole = parse(DUMP.as_bytes()).unwrap();
    for cut in 0..DUMP.len() {
        let text = &DUMP[..cut];
        let in_maps = text.contains("MAPPED_LIBRARIES:");
        let last = text.lines().last().unwrap_or("");
        let done = text.ends_with('\n')
            && (in_maps || !(last.is_empty() || last.starts_with("heap_v2") || last.starts_with('@')));

        match parse(text.as_bytes()) {
            Ok(dump) => {
                assert!(done, "cut at {cut}: taken");
                assert!(whole.stacks.starts_with(&dump.stacks), "cut at {cut}: other stacks");
                assert!(whole.mapped_libraries.starts_with(&dump.mapped_libraries));
            }
            Err(error) => {
                assert!(!done, "cut at {cut}: {error}");
                let line = text.matches('\n').count() + 1;
                assert!(error.to_string().contains(&format!("line {line}: ")), "cut at {cut}: {error}");
            }
        }
    }
}

/// A stack with the lines of its threads, which say nothing about it to the parser.
type Written = (DumpStack, Vec<(u64, [u64; 4])>);

/// What jemalloc would write.
fn write(stacks: &[Written], threads: &[(u64, [u64; 4], Vec<u8>)], maps: &[u8]) -> Vec<u8> {
    fn line(text: &mut Vec<u8>, who: &str, [a, b, c, d]: [u64; 4]) {
        text.extend(format!("  t{who}: {a}: {b} [{c}: {d}]").bytes());
    }

    let mut text = b"heap_v2/4096\n".to_vec();
    line(&mut text, "*", [9, 99, 0, 0]);
    text.push(b'\n');
    for (id, counts, name) in threads {
        line(&mut text, &id.to_string(), *counts);
        if !name.is_empty() {
            text.push(b' ');
            text.extend(name);
        }
        text.push(b'\n');
    }
    for (stack, threads) in stacks {
        text.push(b'@');
        for address in &stack.addresses {
            text.extend(format!(" {:#x}", address.0).bytes());
        }
        text.push(b'\n');
        let all = [stack.inuse_objects, stack.inuse_bytes, stack.alloc_objects, stack.alloc_bytes];
        line(&mut text, "*", all);
        text.push(b'\n');
        for (id, counts) in threads {
            line(&mut text, &id.to_string(), *counts);
            text.push(b'\n');
        }
    }
    if !maps.is_empty() {
        text.extend(b"\nMAPPED_LIBRARIES:\n");
        text.extend(maps);
    }
    text
}

fn counts() -> impl Strategy<Value = [u64; 4]> {
    let count = prop_oneof![3 => Just(0), 2 => 0..100_u64, 1 => any::<u64>()];
    proptest::array::uniform4(count)
}

fn written() -> impl Strategy<Value = Written> {
    let addresses = vec(prop_oneof![any::<u64>(), 0..16_u64, Just(u64::MAX)], 0..6);
    let threads = vec((any::<u64>(), counts()), 0..3);
    (addresses, counts(), threads).prop_map(|(addresses, counts, threads)| (stack(&addresses, counts), threads))
}

fn without_line_breaks(mut text: Vec<u8>) -> Vec<u8> {
    text.retain(|&byte| byte != b'\n');
    text
}

/// What holds for any bytes at all.
fn check_any(text: &[u8]) -> std::result::Result<(), TestCaseError> {
    match parse(text) {
        Ok(dump) => {
            // Nothing comes from numbers in the dump: an address takes 4 bytes at least, a stack 21.
            let addresses: usize = dump.stacks.iter().map(|stack| stack.addresses.len()).sum();
            prop_assert!(addresses * 4 + dump.stacks.len() * 21 <= text.len());
            prop_assert!(text.ends_with(&dump.mapped_libraries));
            prop_assert!(dump.sample_interval > 0);
        }
        Err(error) => {
            let message = error.to_string();
            prop_assert!(message.is_ascii() && message.len() < 300, "{}", message);
            prop_assert!(message.starts_with("heap_v2 dump, line "), "{}", message);
        }
    }
    Ok(())
}

/// The same cases on every run; the test harness shows the line when a test fails.
fn config() -> ProptestConfig {
    const SEED: u64 = 0x6865_6170;
    println!("proptest seed {SEED:#x}");
    ProptestConfig {
        cases: 1_000,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_are_an_answer(text in vec(any::<u8>(), 0..400)) {
        check_any(&text)?;
        // Behind a sound beginning, where they get further.
        check_any(&[b"heap_v2/1\n  t*: 0: 0 [0: 0]\n", text.as_slice()].concat())?;
    }

    #[test]
    fn any_order_of_pieces_is_an_answer(pieces in vec(
        select(&[
            "heap_v2/", "8", "18446744073709551616", "\n", "  t", "*", ": ", " [", "]", " ", "@", " 0x", "f",
            "MAPPED_LIBRARIES:", "@ 0x1\n", "  t*: 1: 2 [3: 4]\n", "  t5: 1: 2 [3: 4] x\n", "\nMAPPED_LIBRARIES:\n",
        ]),
        0..60,
    )) {
        let text = pieces.concat();
        check_any(text.as_bytes())?;
        check_any(format!("heap_v2/1\n  t*: 0: 0 [0: 0]\n{text}\n").as_bytes())?;
    }

    #[test]
    fn a_damaged_dump_is_an_answer(
        flips in vec((any::<Index>(), 0..8_u32), 0..8),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut text = DUMP.as_bytes().to_vec();
        for (place, bit) in flips {
            let place = place.index(text.len());
            text[place] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        check_any(&text)?;
    }

    #[test]
    fn reads_back_what_was_written(
        stacks in vec(written(), 0..12),
        threads in vec((any::<u64>(), counts(), vec(any::<u8>(), 0..15).prop_map(without_line_breaks)), 0..4),
        maps in vec(vec(any::<u8>(), 0..30).prop_map(without_line_breaks), 0..4),
    ) {
        let maps: Vec<u8> = maps.into_iter().flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
        let text = write(&stacks, &threads, &maps);

        let dump = parse(&text)?;

        let kept: Vec<DumpStack> = stacks.into_iter().map(|(stack, _)| stack).filter(|stack| !stack.is_zero()).collect();
        prop_assert_eq!(dump.sample_interval, 4096);
        prop_assert_eq!(dump.stacks, kept);
        prop_assert_eq!(&*dump.mapped_libraries, &maps[..]);
    }
}
