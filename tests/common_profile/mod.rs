//! Checks of whole profiles, shared by the live tests.

#![allow(dead_code)] // Each test uses a part of it.

use std::collections::HashSet;

use pprof::protos;

use crate::common_http::decode;

/// The sample types of a heap profile.
pub const HEAP: [(&str, &str); 4] =
    [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];

/// What Parca and pprof refuse a profile for, and what they need to look names up: Parca's
/// `pkg/normalizer/validate.go`, pprof's `Profile.CheckValid`.
#[track_caller]
pub fn validate(profile: &protos::Profile, sample_types: &[(&str, &str)]) {
    assert_eq!(profile.string_table.first().map(String::as_str), Some(""), "string 0");
    let unique: HashSet<&String> = profile.string_table.iter().collect();
    assert_eq!(unique.len(), profile.string_table.len(), "every string once");
    let text = |index: i64| -> &str {
        profile.string_table.get(usize::try_from(index).expect("no negative string")).expect("a string of the table")
    };

    let types: Vec<_> = profile.sample_type.iter().map(|t| (text(t.ty), text(t.unit))).collect();
    assert_eq!(types, sample_types);
    assert!(types.iter().any(|(name, _)| *name == text(profile.default_sample_type)), "the default is one of them");
    let period = profile.period_type.as_ref().expect("a period type");
    assert!(!text(period.ty).is_empty() && !text(period.unit).is_empty() && profile.period > 0);
    assert!(profile.time_nanos > 0 && profile.duration_nanos >= 0);
    profile.comment.iter().for_each(|&comment| assert!(!text(comment).is_empty()));

    for (index, mapping) in profile.mapping.iter().enumerate() {
        assert_eq!(mapping.id, index as u64 + 1);
        assert!(mapping.memory_start < mapping.memory_limit, "{mapping:?}");
        assert!(!text(mapping.filename).is_empty(), "{mapping:?}");
        assert!(text(mapping.build_id).bytes().all(|byte| byte.is_ascii_hexdigit()), "{mapping:?}");
    }
    let mut used = HashSet::new();
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), sample_types.len());
        assert!(sample.value.iter().any(|value| *value != 0), "{sample:?}");
        for label in &sample.label {
            assert_eq!((text(label.key), label.str), ("bytes", 0));
        }
        for id in &sample.location_id {
            assert!((1..=profile.location.len() as u64).contains(id), "{sample:?}");
            used.insert(*id);
        }
    }
    assert_eq!(used.len(), profile.location.len(), "no location for nothing");
    for (index, function) in profile.function.iter().enumerate() {
        assert_eq!(function.id, index as u64 + 1);
        assert!(!text(function.name).is_empty() && !text(function.system_name).is_empty(), "{function:?}");
        text(function.filename);
    }
    let mut named = vec![true; profile.mapping.len()];
    for (index, location) in profile.location.iter().enumerate() {
        assert_eq!(location.id, index as u64 + 1);
        assert!(location.mapping_id <= profile.mapping.len() as u64, "{location:?}");
        if let Some(at) = (location.mapping_id as usize).checked_sub(1) {
            let mapping = &profile.mapping[at];
            assert!(
                (mapping.memory_start..mapping.memory_limit).contains(&location.address),
                "{location:?} {mapping:?}"
            );
            named[at] &= !location.line.is_empty();
        }
        for line in &location.line {
            assert!((1..=profile.function.len() as u64).contains(&line.function_id) && line.line >= 0, "{location:?}");
        }
    }
    for (mapping, named) in profile.mapping.iter().zip(named) {
        // A flag that is set keeps a viewer from looking names up itself.
        let flags = [mapping.has_functions, mapping.has_filenames, mapping.has_line_numbers, mapping.has_inline_frames];
        assert!(named || !flags.contains(&true), "{mapping:?}");
    }
}

/// The sums of each sample type.
pub fn totals(profile: &protos::Profile) -> Vec<i64> {
    (0..profile.sample_type.len()).map(|index| profile.sample.iter().map(|sample| sample.value[index]).sum()).collect()
}

/// Reads a profile as heapward does, writes it again, and compares what both say.
#[track_caller]
pub fn round_trip(gzipped: &[u8]) {
    let read = heapward::HeapProfile::read(gzipped).expect("heapward reads what it wrote");
    let again = read.heap_prof().expect("and writes it again");
    let (first, second) = (decode(gzipped), decode(&again));
    assert_eq!(said(&first), said(&second));
    let totals = totals(&first);
    let read = read.totals();
    assert_eq!(totals, [read.alloc_objects, read.alloc_bytes, read.inuse_objects, read.inuse_bytes]);
}

/// All that a profile says, without its numbering.
fn said(profile: &protos::Profile) -> Vec<String> {
    let text = |index: i64| &profile.string_table[index as usize];
    let place = |id: &u64| {
        let location = &profile.location[*id as usize - 1];
        let mapping = (location.mapping_id as usize).checked_sub(1).map(|at| &profile.mapping[at]);
        let mapping =
            mapping.map(|m| (m.memory_start, m.memory_limit, m.file_offset, text(m.filename), text(m.build_id)));
        let line = |line: &protos::Line| {
            let function = &profile.function[line.function_id as usize - 1];
            (text(function.name), text(function.system_name), text(function.filename), line.line)
        };
        format!("{:#x} in {mapping:?}: {:?}", location.address, location.line.iter().map(line).collect::<Vec<_>>())
    };
    let mut said: Vec<String> = profile
        .sample
        .iter()
        .map(|sample| {
            let labels: Vec<_> = sample.label.iter().map(|label| (text(label.key), label.num)).collect();
            format!("{:?} {labels:?} {:?}", sample.value, sample.location_id.iter().map(place).collect::<Vec<_>>())
        })
        .collect();
    said.sort_unstable();
    let types: Vec<_> = profile.sample_type.iter().map(|t| (text(t.ty), text(t.unit))).collect();
    let comments: Vec<_> = profile.comment.iter().map(|&comment| text(comment)).collect();
    let flags = |m: &protos::Mapping| [m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames];
    said.push(format!("{types:?} {comments:?} {:?}", profile.mapping.iter().map(flags).collect::<Vec<_>>()));
    said.push(format!("{} {} {}", profile.time_nanos, profile.duration_nanos, profile.period));
    said.push(format!("{} {}", text(profile.drop_frames), text(profile.default_sample_type)));
    said
}
