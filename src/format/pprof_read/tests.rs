use std::io::Write;

use super::super::read::read;
use crate::error::ErrorKind;
use crate::profile::{Frame, Profile, Unknown};

/// The encoding, as simple as it can be.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn int(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value.cast_unsigned())].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn message(field: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(field, &fields.concat())
}

fn packed(field: u64, values: &[i64]) -> Vec<u8> {
    bytes(field, &values.iter().flat_map(|value| varint(value.cast_unsigned())).collect::<Vec<u8>>())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// The numbers of these strings are their places here.
const STRINGS: [&str; 12] = [
    "",
    "inuse_space",
    "bytes",
    "inuse_objects",
    "count",
    "main::run",
    "/srv/bin/server",
    "0Aff",
    "thread",
    "note",
    "cpu",
    "nanoseconds",
];

fn strings() -> Vec<u8> {
    STRINGS.iter().flat_map(|text| bytes(6, text.as_bytes())).collect()
}

fn sample_type(name: &str, unit: &str) -> Vec<u8> {
    let number = |text: &str| STRINGS.iter().position(|known| *known == text).expect("one of STRINGS") as i64;
    message(1, &[int(1, number(name)), int(2, number(unit))])
}

/// Two sample types, a mapping, a function, a location with it and one without, one sample.
fn small() -> Vec<Vec<u8>> {
    vec![
        sample_type("inuse_space", "bytes"),
        sample_type("inuse_objects", "count"),
        message(3, &[int(1, 1), int(2, 0x1000), int(3, 0x9000), int(4, 0x10), int(5, 6), int(6, 7)]),
        message(5, &[int(1, 900), int(2, 5), int(4, 6)]),
        message(4, &[int(1, 7), int(2, 1), int(3, 0x1234), message(4, &[int(1, 900), int(2, 42)])]),
        message(4, &[int(1, 3), int(3, 0x99)]),
        message(2, &[packed(1, &[7, 3, 7]), packed(2, &[-96, 2]), message(3, &[int(1, 2), int(3, 48)])]),
        message(11, &[int(1, 9), int(2, 2)]),
        int(12, 524_288),
    ]
}

fn with(more: &[Vec<u8>]) -> Vec<u8> {
    [small().concat(), strings(), more.concat()].concat()
}

fn taken(content: &[u8]) -> Profile {
    read(content).unwrap_or_else(|error| panic!("{error}"))
}

fn error(content: &[u8]) -> String {
    let error = read(content).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    // The same where it is compressed, so places are those of the content.
    let message = error.to_string();
    assert_eq!(read(&gzip(content)).unwrap_err().to_string().replace("KiB", "B"), message.replace("KiB", "B"));
    message
}

/// What is wrong with the small profile and `more` behind it.
#[track_caller]
fn check(more: &[Vec<u8>], expect: &str) {
    let at = with(&[]).len();
    let message = error(&with(more));
    assert_eq!(message, format!("profile.proto, byte {}", expect.replace('@', &at.to_string())));
}

#[test]
fn everything_is_where_it_belongs() {
    let profile = taken(&with(&[int(9, 1_700_000_000_000_000_005), int(10, 60), int(13, 9), packed(13, &[9, 0])]));
    assert_eq!(profile.time.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos(), 1_700_000_000_000_000_005);
    assert_eq!(profile.duration.as_nanos(), 60);
    assert_eq!(profile.default_sample_type, "inuse_space");
    let mapping = &profile.mappings[0];
    assert_eq!((mapping.start, mapping.limit, mapping.file_offset), (0x1000, 0x9000, 0x10));
    assert_eq!(
        (mapping.path.as_str(), mapping.build_id.as_ref().unwrap().to_string().as_str()),
        ("/srv/bin/server", "0aff")
    );
    let [known, unknown] = &profile.locations[..] else { panic!("{:?}", profile.locations) };
    assert_eq!((known.address.0, known.mapping, unknown.address.0, unknown.mapping), (0x1234, Some(0), 0x99, None));
    assert_eq!(unknown.frame, Frame::Unknown(Unknown::NotAsked));
    let [function] = known.frame.functions() else { panic!("{:?}", known.frame) };
    assert_eq!(
        (&*function.name, &*function.system_name, &*function.file),
        ("main::run", "main::run", "/srv/bin/server")
    );
    assert_eq!(function.line, 42);
    let [sample] = profile.samples[..] else { panic!("{:?}", profile.samples) };
    assert_eq!((sample.values, sample.average_size), ([0, 0, 2, -96], 48));
    assert_eq!(profile.stack(&sample), [0, 1, 0]);
    assert_eq!(
        profile.comments,
        [
            "note",
            "note",
            "",
            "zero here, because the file has none: alloc_objects, alloc_space",
            "not read: a period of 524288 in \"note/bytes\"",
        ]
    );
    assert_eq!(profile.sample_interval, 0);
}

#[test]
fn messages_may_come_in_any_order_and_the_last_of_a_field_wins() {
    let mut parts = small();
    parts.push(strings());
    let forward = taken(&[parts.concat(), int(12, 7), int(12, 8)].concat());
    // Samples first, sample types last: their order among themselves is what they mean.
    parts.reverse();
    parts.swap(9, 8);
    let backward = taken(&[parts.concat(), int(12, 8)].concat());
    assert_eq!(forward.samples[0].values, [0, 0, 2, -96]);
    assert_eq!(backward.samples[0].values, [0, 0, 2, -96]);
    assert_eq!(forward.comments, backward.comments);
    assert!(forward.comments.iter().any(|comment| comment.contains("a period of 8 in")), "{:?}", forward.comments);
}

#[test]
fn repeated_numbers_may_be_packed_or_not_or_both() {
    let sample = message(2, &[int(1, 7), packed(1, &[3]), int(2, 5), packed(1, &[]), packed(2, &[6]), int(1, 3)]);
    let profile = taken(&with(&[sample]));
    assert_eq!(profile.stack(&profile.samples[1]), [0, 1, 1]);
    assert_eq!(profile.samples[1].values, [0, 0, 6, 5]);
}

#[test]
fn sample_types_are_found_by_name_and_unit() {
    let number = |text: &str| -> i64 {
        match text {
            "objects" => 12,
            "space" => 13,
            "alloc_space" => 14,
            "alloc_objects" => 15,
            "inuse" => 16,
            _ => STRINGS.iter().position(|known| *known == text).unwrap() as i64,
        }
    };
    let profile = |types: &[(&str, &str)], shown: &str| {
        let more = ["objects", "space", "alloc_space", "alloc_objects", "inuse"]
            .map(|text| bytes(6, text.as_bytes()))
            .concat();
        let types: Vec<u8> =
            types.iter().flat_map(|(name, unit)| message(1, &[int(1, number(name)), int(2, number(unit))])).collect();
        let count = types.len() as i64;
        let values: Vec<i64> = (1..=count).collect();
        let kinds = read(&[types.clone(), strings(), more.clone(), int(14, number(shown))].concat());
        let values =
            |n: usize| [types.clone(), message(2, &[packed(2, &values[..n])]), strings(), more.clone()].concat();
        kinds.map(|kinds| (kinds.default_sample_type, (1..=8).find_map(|n| read(&values(n)).ok()).unwrap()))
    };
    let check = |types: &[(&str, &str)], values: [i64; 4], shown: &str, comments: &[&str]| {
        let (default, found) = profile(types, "").unwrap();
        assert_eq!((found.samples[0].values, default), (values, shown), "{types:?}");
        assert_eq!(found.comments, comments);
    };
    check(
        &[("inuse_space", "bytes"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("alloc_objects", "count")],
        [4, 2, 3, 1],
        "inuse_space",
        &[],
    );
    check(
        &[("objects", "count"), ("space", "bytes")],
        [0, 0, 1, 2],
        "inuse_space",
        &["zero here, because the file has none: alloc_objects, alloc_space"],
    );
    check(
        &[
            ("space", "bytes"),
            ("cpu", "nanoseconds"),
            ("alloc_space", "bytes"),
            ("inuse_space", "bytes"),
            ("inuse_objects", "bytes"),
        ],
        [0, 3, 0, 4],
        "inuse_space",
        &[
            "not read: sample types \"space/bytes\", \"cpu/nanoseconds\", \"inuse_objects/bytes\"",
            "zero here, because the file has none: alloc_objects, inuse_objects",
        ],
    );
    check(
        &[("alloc_objects", "count"), ("alloc_space", "bytes")],
        [1, 2, 0, 0],
        "alloc_space",
        &["zero here, because the file has none: inuse_objects, inuse_space"],
    );
    assert_eq!(profile(&[("space", "bytes"), ("alloc_space", "bytes")], "alloc_space").unwrap().0, "alloc_space");
    assert_eq!(profile(&[("space", "bytes"), ("alloc_space", "bytes")], "space").unwrap().0, "inuse_space");
    assert_eq!(profile(&[("space", "bytes"), ("alloc_space", "bytes")], "cpu").unwrap().0, "inuse_space");
}

#[test]
fn a_profile_of_something_else_is_refused_with_what_it_has() {
    let allowed = "allowed are alloc_objects/count, alloc_space/bytes, inuse_objects/count, inuse_space/bytes, objects/count, \
                   space/bytes";
    let cpu = [sample_type("cpu", "nanoseconds"), sample_type("inuse_space", "count"), strings()].concat();
    assert_eq!(
        error(&cpu),
        format!(
            "profile.proto, byte 0: this is no heap profile: its sample types are \"cpu/nanoseconds\", \"inuse_space/count\"; {allowed}"
        )
    );
    assert_eq!(
        error(&strings()),
        format!("profile.proto, byte 0: this is no heap profile: its sample types are none; {allowed}")
    );
}

#[test]
fn what_is_left_out_is_told() {
    let label = |key: i64, text: i64, number: i64| message(3, &[int(1, key), int(2, text), int(3, number), int(4, 2)]);
    let sample = |labels: &[Vec<u8>]| message(2, &[packed(2, &[1, 1]), labels.concat()]);
    let mut more = vec![
        sample(&[label(8, 5, 0), label(2, 0, 64), label(9, 0, 3)]),
        sample(&[label(8, 5, 0), label(2, 5, 0)]),
        int(8, 9),
        int(10, -5),
        int(9, -1),
        int(14, 10),
        bytes(15, b"https://example.org/"),
        message(3, &[int(1, 2), int(6, 9)]),
        message(4, &[int(1, 8), message(4, &[int(2, 3)]), message(4, &[int(1, 900), int(2, -4)]), int(5, 1)]),
        message(5, &[int(1, 901)]),
        message(4, &[int(1, 9), message(4, &[int(1, 901)])]),
        bytes(6, b"\xff"),
    ];
    more.push(int(20, 1));
    let profile = taken(&with(&more));
    assert_eq!(
        profile.comments,
        [
            "not read: labels \"thread\" (2 times), \"bytes\" (1 times), \"note\" (1 times)",
            "zero here, because the file has none: alloc_objects, alloc_space",
            "not read: a time of -1 ns, before 1970",
            "not read: a period of 524288 in \"note/bytes\"",
            "not read: a duration of -5 ns",
            "not read: default_sample_type \"cpu\"",
            "not read: keep_frames \"note\"",
            "not read: 2 fields that are not known here",
            "not read: 1 build ids that are not hexadecimal",
            "not read: 2 lines without a named function",
            "not read: 1 line numbers that are none",
            "not read: 1 marks of folded locations",
            "1 strings are not UTF-8: bytes are replaced there",
        ]
    );
    assert_eq!(profile.samples[1].average_size, 64);
    assert_eq!(profile.locations[3].frame, Frame::Unknown(Unknown::NotAsked));
}

#[test]
fn a_long_list_of_labels_is_cut() {
    let keys: Vec<u8> = (0..14).flat_map(|n| bytes(6, format!("key{n}").as_bytes())).collect();
    let labels: Vec<u8> = (0..14).flat_map(|n| message(3, &[int(1, 12 + n), int(2, 5)])).collect();
    let profile = taken(&with(&[message(2, &[packed(2, &[1, 1]), labels]), keys]));
    assert!(profile.comments[0].ends_with("\"key9\" (1 times) and 4 more"), "{:?}", profile.comments);
}

#[test]
fn ids_must_be_there_once_and_not_be_0() {
    check(&[message(4, &[int(3, 5)])], "@, location 3: id is 0 or missing, ids begin with 1");
    check(&[message(3, &[int(1, 0)])], "@, mapping 2: id is 0 or missing, ids begin with 1");
    check(&[message(5, &[int(2, 5)])], "@, function 2: id is 0 or missing, ids begin with 1");
    check(&[message(4, &[int(1, 3)])], "@, location 3: id 3 is that of location 2 too");
    check(&[message(3, &[int(1, 1)])], "@, mapping 2: id 1 is that of mapping 1 too");
    check(&[message(5, &[int(1, 900)])], "@, function 2: id 900 is that of function 1 too");
    check(&[message(4, &[int(1, 5), int(2, 99)])], "@, location 3: mapping id 99 is not in the profile");
    check(
        &[message(4, &[int(1, 5), message(4, &[int(1, -1)])])],
        "@, location 3: function id 18446744073709551615 is not in the profile",
    );
    let at = with(&[]).len() + 2;
    check(
        &[message(2, &[int(1, 99), packed(2, &[1, 1])])],
        &format!("{at}, sample 2: location id 99 is not in the profile"),
    );
    check(
        &[message(2, &[int(1, 0), packed(2, &[1, 1])])],
        &format!("{at}, sample 2: location id 0 is not in the profile"),
    );
}

#[test]
fn strings_must_be_in_the_table() {
    let of = |number: i64| format!("is string {number}, and the string table has 12");
    check(
        &[message(5, &[int(1, 2), int(2, 99)]), message(4, &[int(1, 5), message(4, &[int(1, 2)])])],
        &format!("@, function 2: name {}", of(99)),
    );
    check(&[message(3, &[int(1, 2), int(5, -1)])], &format!("@, mapping 2: filename {}", of(-1)));
    check(&[message(3, &[int(1, 2), int(6, 12)])], &format!("@, mapping 2: build_id {}", of(12)));
    check(&[int(13, 12)], &format!("@: comment {}", of(12)));
    check(&[int(14, i64::MAX)], &format!("@: default_sample_type {}", of(i64::MAX)));
    check(&[int(8, i64::MIN)], &format!("@: keep_frames {}", of(i64::MIN)));
    check(&[message(11, &[int(1, 12)])], &format!("@, period_type 1: type {}", of(12)));
    check(&[message(1, &[int(2, 12)])], &format!("@, sample_type 3: unit {}", of(12)));
    let at = with(&[]).len() + 6;
    check(
        &[message(2, &[packed(2, &[1, 1]), message(3, &[int(1, 40)])])],
        &format!("{at}, sample 2: a label's key {}", of(40)),
    );
    assert_eq!(error(&bytes(6, b"x")), "profile.proto, byte 0: string 0 of string_table is not empty, as it must be");
}

#[test]
fn samples_have_a_value_for_each_sample_type() {
    let at = with(&[]).len() + 2;
    check(&[message(2, &[packed(2, &[1])])], "@: sample 2 has 1 values, and there are 2 sample types");
    check(&[message(2, &[])], "@: sample 2 has 0 values, and there are 2 sample types");
    check(
        &[message(2, &[packed(2, &[1, 1, 1])])],
        &format!("{at}, sample 2: more than 2 values, as many as there are sample types"),
    );
    let many: Vec<Vec<u8>> = (0..63).map(|_| message(1, &[])).collect();
    let at = with(&[]).len() + 62 * 2;
    check(&many, &format!("{at}: more than 64 sample types"));
}

#[test]
fn stacks_and_inlined_functions_are_bounded() {
    let at = with(&[]).len() + 3;
    let values = packed(2, &[1, 1]);
    assert_eq!(taken(&with(&[message(2, &[packed(1, &[3; 4096]), values.clone()])])).samples.len(), 2);
    check(
        &[message(2, &[packed(1, &[3; 4097]), values])],
        &format!("{at}, sample 2: a stack of more than 4096 frames"),
    );
    let lines = |count: usize| message(4, &[int(1, 5), vec![message(4, &[]); count].concat()]);
    assert_eq!(taken(&with(&[lines(4096)])).locations.len(), 3);
    let at = with(&[]).len() + 3 + 2 + 4096 * 2;
    check(&[lines(4097)], &format!("{at}, location 3: more than 4096 lines"));
}

#[test]
fn a_varint_ends_in_time() {
    let long = [varint(9 << 3), vec![0xff; 11]].concat();
    let at = with(&[]).len();
    check(&[long], &format!("{}: a varint of more than 64 bits", at + 1));
    // 2^64 needs an eleventh group of bits, or a second bit in the tenth.
    check(&[[varint(9 << 3), vec![0x80; 9], vec![2]].concat()], &format!("{}: a varint of more than 64 bits", at + 1));
    assert_eq!(taken(&with(&[[varint(10 << 3), vec![0x80; 9], vec![0]].concat()])).duration.as_nanos(), 0);
    check(&[vec![0x48, 0x80]], &format!("{}: the content ends within a field", at + 2));
    // Inside of a message a varint may not go on behind it.
    check(&[bytes(3, &[0x08, 0x80]), vec![0x01]], &format!("{}, mapping 2: the message ends within a field", at + 4));
    check(
        &[bytes(2, &[0x0a, 2, 0x80, 0x80]), vec![0x01]],
        &format!("{}, sample 2: the message ends within a field", at + 6),
    );
}

#[test]
fn a_length_is_no_longer_than_what_holds_it() {
    let huge = 1u64 << 60;
    let length = |field: u64, length: u64| [varint(field << 3 | 2), varint(length)].concat();
    let left = (1u64 << 30) - with(&[]).len() as u64 - 10;
    for field in 1..=7 {
        let expect = format!("@: field {field} has a length of {huge} bytes, at most {left} can follow");
        check(&[length(field, huge)], &expect);
    }
    check(
        &[length(6, u64::MAX)],
        &format!("@: field 6 has a length of {} bytes, at most {} can follow", u64::MAX, left - 1),
    );
    let end = with(&[]).len() + 4;
    check(&[length(6, 1000), b"x".to_vec()], &format!("{end}: the content ends here, and 999 bytes are missing"));
    check(
        &[length(40, 1000), b"x".to_vec()],
        &format!("{}: the content ends here, and 999 bytes are missing", end + 1),
    );
    check(&[length(6, (1 << 20) + 1)], "@: a string of string_table of 1048577 bytes, at most 1048576 are allowed");
    // Each of these bytes becomes three.
    check(&[bytes(6, &[0xff; 400_000])], "@: a string of string_table of 1200000 bytes, at most 1048576 are allowed");
    let at = with(&[]).len() + 2;
    check(
        &[message(4, &[length(4, huge)])],
        &format!("{at}, location 3: field 4 has a length of {huge} bytes, at most 0 can follow"),
    );
    check(
        &[message(4, &[length(4, 3), vec![8]])],
        &format!("{at}, location 3: field 4 has a length of 3 bytes, at most 1 can follow"),
    );
    // A message that the file cuts off.
    check(&[length(2, 9), vec![8]], &format!("{}, sample 2: the content ends here, and 8 bytes are missing", at + 1));
}

#[test]
fn a_field_has_the_type_that_the_format_says() {
    let at = with(&[]).len();
    check(&[int(3, 7)], "@, mapping 2: a message is a varint and should be a length and bytes");
    check(&[int(6, 7)], "@: a string of string_table is a varint and should be a length and bytes");
    check(&[bytes(12, b"abc")], "@: period is a length and bytes and should be a varint");
    check(
        &[vec![9 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]],
        "@: time_nanos is a number of fixed size and should be a varint",
    );
    check(
        &[vec![13 << 3 | 5, 0, 0, 0, 0]],
        "@: comment is a number of fixed size and should be a varint or packed varints",
    );
    check(
        &[message(3, &[bytes(2, b"abc")])],
        &format!("{}, mapping 2: memory_start is a length and bytes and should be a varint", at + 2),
    );
    check(&[vec![7 << 3 | 3, 7 << 3 | 4]], "@: field 7 has wire type 3, allowed are 0, 1, 2 and 5");
    check(&[vec![0, 0]], "@: field number 0, allowed are 1 to 2^29 - 1");
    check(&[varint(1 << 32)], "@: field number 536870912, allowed are 1 to 2^29 - 1");
}

#[test]
fn unknown_fields_of_any_type_are_skipped() {
    let more =
        [int(99, 7), bytes(98, &[0xff; 100_000]), vec![0xc1, 6, 1, 2, 3, 4, 5, 6, 7, 8], vec![0xc5, 6, 1, 2, 3, 4]];
    let profile = taken(&with(&more));
    assert!(
        profile.comments.contains(&"not read: 4 fields that are not known here".to_owned()),
        "{:?}",
        profile.comments
    );
    check(&[vec![0xc5, 6, 1, 2]], &format!("{}: the content ends here, and 2 bytes are missing", with(&[]).len() + 4));
    let at = with(&[]).len() + 4;
    check(&[bytes(3, &[0xc5, 6, 1, 2])], &format!("{at}, mapping 2: the message ends within a field"));
}

#[test]
fn a_profile_that_is_cut_is_an_error_save_between_fields() {
    let content = with(&[]);
    let mut ends = vec![0];
    for part in small().iter().chain(&STRINGS.map(|text| bytes(6, text.as_bytes()))) {
        ends.push(ends[ends.len() - 1] + part.len());
    }
    for cut in 0..content.len() {
        match read(&content[..cut]) {
            // What is missing is not needed.
            Ok(_) => assert!(ends.contains(&cut), "cut at {cut}: taken"),
            Err(error) => {
                let error = error.to_string();
                let is_within = error.contains("ends within a field") || error.contains("the content ends here");
                assert_eq!(is_within, !ends.contains(&cut), "cut at {cut}: {error}");
            }
        }
    }
}

#[test]
fn mappings_are_sorted_and_stay_those_of_their_locations() {
    let more = [
        message(3, &[int(1, 50), int(2, 0x30), int(3, 0x40)]),
        message(3, &[int(1, 9), int(2, 0x20), int(3, 0x30)]),
        message(4, &[int(1, 50), int(2, 50), int(3, 0x31)]),
        message(4, &[int(1, 9), int(2, 9), int(3, 0x21)]),
    ];
    let profile = taken(&with(&more));
    assert_eq!(profile.mappings.iter().map(|mapping| mapping.start).collect::<Vec<_>>(), [0x20, 0x30, 0x1000]);
    let mappings: Vec<_> = profile.locations.iter().map(|location| location.mapping).collect();
    assert_eq!(mappings, [Some(2), None, Some(1), Some(0)]);
}
