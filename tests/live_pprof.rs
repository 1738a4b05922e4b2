//! The heap.prof of a real program: is it the profile.proto that viewers want, and do they show the caller's code?
//!
//! Functions of known names allocate known amounts, each at least a hundred times the sample interval, so that every
//! one is sampled and the estimate is exact. The profile is checked field by field as Parca checks it, against what
//! the system and the program file say, and then pruned by its own `drop_frames` as pprof does it.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::CString;
use std::fmt;
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use heapward::{ByteSize, Profiler, Selector, SnapshotInfo, TopSite};
use pprof::protos::{self, Message};
use regex::Regex;

heapward::install!("lg_prof_sample:6");

const INTERVAL: i64 = 64;
/// What each known function allocates, and a size class of jemalloc's.
const N: usize = 16 * 1024;
const SAMPLE_TYPES: [(&str, &str); 4] =
    [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];

type Kept = Box<dyn Any>;

/// Functions that are never inlined, nor merged with their equals, each returning what it allocated; and their names.
macro_rules! functions {
    ($list:ident: $($name:ident -> $type:ty $body:block)*) => {
        $(#[inline(never)] fn $name() -> $type { black_box(stringify!($name)); black_box($body) })*
        /// Names, and the same functions with their results in a box.
        const $list: &[(&str, fn() -> Kept)] = &[$((stringify!($name), || Box::new($name()))),*];
    };
}

// What is copied from; made before anything is counted.
static TEXT: LazyLock<String> = LazyLock::new(|| "x".repeat(N));
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| vec![7; N]);
static TWINS: LazyLock<Vec<Twin>> = LazyLock::new(|| vec![Twin(Vec::new())]);

fn text() -> &'static String {
    black_box(&TEXT)
}

fn bytes() -> &'static Vec<u8> {
    black_box(&BYTES)
}

// Each keeps N bytes in one block.
functions! { ONE_BLOCK:
    vec_with_capacity -> Vec<u8> { Vec::with_capacity(black_box(N)) }
    vec_push -> Vec<u8> { let mut v = Vec::new(); for n in 0..black_box(N) { v.push(n as u8) } v }
    vec_reserve -> Vec<u8> { let mut v = black_box(Vec::new()); v.reserve(black_box(N)); v }
    vec_resize -> Vec<u8> { let mut v = Vec::new(); v.resize(black_box(N), 7); v }
    vec_extend_from_slice -> Vec<u8> { let mut v = Vec::new(); v.extend_from_slice(bytes()); v }
    vec_macro -> Vec<u8> { vec![black_box(7); black_box(N)] }
    vec_macro_of_zeros -> Vec<u8> { vec![0; black_box(N)] }
    vec_macro_of_values -> Vec<[u8; N / 2]> { vec![black_box([7; N / 2]), black_box([8; N / 2])] }
    vec_clone -> Vec<u8> { bytes().clone() }
    vec_write -> Vec<u8> { let mut v = Vec::new(); v.write_all(bytes()).unwrap(); v }
    slice_to_vec -> Vec<u8> { bytes()[..].to_vec() }
    slice_concat -> Vec<u8> { [&bytes()[..100], &bytes()[100..]].concat() }
    boxed -> Box<[u8; N]> { Box::new(black_box([7; N])) }
    boxed_slice -> Box<[u8]> { Box::from(&bytes()[..]) }
    counted -> Rc<[u8; N - 16]> { Rc::new(black_box([7; N - 16])) }
    shared -> Arc<[u8; N - 16]> { Arc::new(black_box([7; N - 16])) }
    shared_text -> Arc<str> { Arc::from(&text()[..N - 16]) }
    string_with_capacity -> String { String::with_capacity(black_box(N)) }
    string_push -> String { let mut s = String::new(); for _ in 0..black_box(N) { s.push('x') } s }
    string_push_str -> String { let mut s = String::new(); s.push_str(text()); s }
    string_from -> String { String::from(&text()[..]) }
    string_add -> String { String::new() + text() }
    string_clone -> String { text().clone() }
    string_join -> String { [&text()[..N / 2], &text()[..N / 2 - 1]].join(",") }
    str_to_owned -> String { text()[..].to_owned() }
    str_to_string -> String { text()[..].to_string() }
    str_repeat -> String { text()[..4].repeat(black_box(N / 4)) }
    str_to_uppercase -> String { text().to_uppercase() }
    cow_into_owned -> String { black_box(Cow::Borrowed(&text()[..])).into_owned() }
    formatted -> String { format!("{:>1$}", black_box(1), black_box(N)) }
    path -> PathBuf { PathBuf::from(&text()[..]) }
    // 112 bytes an entry, and one of control, for 128 entries.
    map_insert -> HashMap<u8, [u8; 111]> {
        let mut map = HashMap::new();
        for n in 0..black_box(100) { map.insert(n, [0; 111]); }
        map
    }
    map_entry -> HashMap<u8, [u8; 111]> {
        let mut map = HashMap::new();
        for n in 0..black_box(100) { map.entry(n).or_insert([0; 111]); }
        map
    }
    map_with_capacity -> HashMap<u8, [u8; 111]> { HashMap::with_capacity(black_box(100)) }
    set_insert -> HashSet<[u8; 112]> {
        let mut set = HashSet::new();
        for n in 0..black_box(100) { set.insert([n; 112]); }
        set
    }
    deque_push -> VecDeque<u8> { let mut d = VecDeque::new(); for _ in 0..black_box(N) { d.push_back(7) } d }
    heap_push -> BinaryHeap<u8> { let mut h = BinaryHeap::new(); for _ in 0..black_box(N) { h.push(7) } h }
    list_push -> LinkedList<[u8; N - 16]> { let mut l = LinkedList::new(); l.push_back(black_box([7; N - 16])); l }
    // Eleven entries a node.
    tree_insert -> BTreeMap<u8, [u8; 1400]> { let mut t = BTreeMap::new(); t.insert(black_box(1), [7; 1400]); t }
    tree_entry -> BTreeMap<u8, [u8; 1400]> { let mut t = BTreeMap::new(); t.entry(black_box(1)).or_insert([7; 1400]); t }
    bytes_mut_reserve -> bytes::BytesMut { let mut b = bytes::BytesMut::new(); b.reserve(black_box(N)); b }
    on_one_line -> Vec<u8> { let v = (Vec::with_capacity(black_box(N)), ON_ONE_LINE.set(line!())); v.0 }
    with_an_inlined_one -> Vec<u8> { inlined() }
}

static ON_ONE_LINE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();

#[inline(always)]
fn inlined() -> Vec<u8> {
    Vec::with_capacity(black_box(N))
}

/// A method of this program's on a type of alloc's, with a name that `Vec` has as well.
trait Stack {
    fn push(&mut self) -> Vec<u8>;
}

impl Stack for Vec<String> {
    #[inline(never)]
    fn push(&mut self) -> Vec<u8> {
        black_box(vec![7; black_box(N)])
    }
}

/// What closures and iterators of this program allocate, under functions of the language that run them.
#[inline(never)]
fn made() -> Vec<u8> {
    black_box(vec![black_box(7); black_box(N)])
}

struct Shows;

impl fmt::Display for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text())
    }
}

/// Something that is cloned with an allocation of N bytes.
struct Twin(#[expect(dead_code, reason = "kept, not read")] Vec<u8>);

impl Clone for Twin {
    fn clone(&self) -> Self {
        Self(made())
    }
}

// Each has N bytes allocated by `made`, which a viewer must still see.
functions! { THROUGH_CLOSURES:
    through_collect -> Vec<Vec<u8>> { (0..black_box(1)).map(|_| made()).collect() }
    through_collect_of_unknown_length -> Vec<Vec<u8>> { std::iter::repeat_with(made).take_while(first()).collect() }
    through_extend -> Vec<Vec<u8>> { let mut v = Vec::new(); v.extend((0..black_box(1)).map(|_| made())); v }
    through_resize_with -> Vec<Vec<u8>> { let mut v = Vec::new(); v.resize_with(black_box(1), made); v }
    through_map_entry -> HashMap<u8, Vec<u8>> {
        let mut map = HashMap::new();
        map.entry(black_box(1)).or_insert_with(made);
        map
    }
    through_map_collect -> HashMap<u8, Vec<u8>> { (0..black_box(1)).map(|n| (n, made())).collect() }
    through_tree_entry -> BTreeMap<u8, Vec<u8>> {
        let mut tree = BTreeMap::new();
        tree.entry(black_box(1)).or_insert_with(made);
        tree
    }
    through_tree_collect -> BTreeMap<u8, Vec<u8>> { (0..black_box(1)).map(|n| (n, made())).collect() }
    through_new_cyclic -> Arc<Vec<u8>> { Arc::new_cyclic(|_| made()) }
    through_once -> std::sync::OnceLock<Vec<u8>> { let o = std::sync::OnceLock::new(); o.get_or_init(made); o }
    through_option -> Option<Vec<u8>> { black_box(None).or_else(|| Some(made())) }
    through_a_boxed_closure -> Vec<u8> { black_box(Box::new(made) as Box<dyn Fn() -> Vec<u8>>)() }
    through_a_panic_guard -> Vec<u8> { std::panic::catch_unwind(made).unwrap() }
    through_a_thread -> Vec<u8> { std::thread::spawn(through_a_thread_inside).join().unwrap() }
    through_array -> [Vec<u8>; 1] { std::array::from_fn(|_| made()) }
    through_sort -> Vec<Vec<u8>> {
        let mut kept = Vec::with_capacity(2);
        black_box([2, 1]).sort_by_key(|_| { kept.is_empty().then(|| kept.push(made())).is_some() });
        kept
    }
}

#[inline(never)]
fn through_a_thread_inside() -> Vec<u8> {
    black_box(made())
}

fn first() -> impl FnMut(&Vec<u8>) -> bool {
    let mut left = 1;
    move |_| {
        left -= 1;
        left >= 0
    }
}

// What a value says of itself: counts for whoever called the collection, or at least for code of this program.
functions! { THROUGH_VALUES:
    through_display -> String { Shows.to_string() }
    through_format -> String { format!("{}", Shows) }
    through_clone -> Vec<Twin> { black_box(&TWINS).to_vec() }
    through_from_elem -> Vec<Twin> { vec![Twin(Vec::new()); black_box(2)] }
    through_own_method -> Vec<u8> { Stack::push(black_box(&mut Vec::<String>::new())) }
    through_c_string -> CString { CString::new(&text()[..N - 1]).unwrap() }
    through_channel -> (std::sync::mpsc::SyncSender<[u8; N]>, std::sync::mpsc::Receiver<[u8; N]>) {
        std::sync::mpsc::sync_channel(black_box(1))
    }
}

/// The profile and what it is compared with.
struct Seen {
    profile: protos::Profile,
    taken: SnapshotInfo,
    before: SystemTime,
    after: SystemTime,
    maps: String,
    top: Vec<TopSite>,
}

/// Taken once: every test reads it.
static SEEN: LazyLock<Seen> = LazyLock::new(|| {
    let profiler =
        Profiler::builder().profiles_dir("off").listen("off").rss_threshold(ByteSize::gib(1 << 20)).start().unwrap();
    LazyLock::force(&TEXT);
    LazyLock::force(&BYTES);
    LazyLock::force(&TWINS);
    let all = [ONE_BLOCK, THROUGH_CLOSURES, THROUGH_VALUES].concat();
    let kept: Vec<Kept> = all.iter().map(|(_, make)| make()).collect();
    let before = SystemTime::now();
    let taken = profiler.snapshot().unwrap();
    let after = SystemTime::now();
    let bytes = profiler.heap_prof(Selector::Latest).unwrap();
    let top = profiler.top(Selector::Latest, 100_000).unwrap();
    profiler.shutdown();
    black_box(kept);

    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unzipped).unwrap();
    let profile = protos::Profile::decode(&unzipped[..]).unwrap();
    Seen { profile, taken, before, after, maps: std::fs::read_to_string("/proc/self/maps").unwrap(), top }
});

impl Seen {
    fn text(&self, index: i64) -> &str {
        &self.profile.string_table[index as usize]
    }

    fn location(&self, id: u64) -> &protos::Location {
        &self.profile.location[id as usize - 1]
    }

    fn function(&self, line: &protos::Line) -> &protos::Function {
        &self.profile.function[line.function_id as usize - 1]
    }

    fn name(&self, line: &protos::Line) -> &str {
        self.text(self.function(line).name)
    }

    fn drop_frames(&self) -> Regex {
        Regex::new(&format!("^({})$", self.text(self.profile.drop_frames)))
            .expect("drop_frames is a regular expression")
    }

    /// The names of a stack, leaf first, inlined functions before the ones that they were inlined into.
    fn names<'s>(&'s self, locations: &'s [u64]) -> impl Iterator<Item = &'s str> {
        locations.iter().flat_map(|&id| &self.location(id).line).map(|line| self.name(line))
    }

    /// The samples with the known function `name` in their stacks.
    fn samples_of(&self, name: &str) -> Vec<&protos::Sample> {
        let name = known(name);
        let samples: Vec<_> = self
            .profile
            .sample
            .iter()
            .filter(|sample| self.names(&sample.location_id).any(|frame| frame == name))
            .collect();
        assert!(!samples.is_empty(), "no sample of {name}");
        samples
    }

    /// What pprof leaves of a stack, leaf first: `Profile.Prune` of its profile/prune.go, for one sample.
    fn pruned(&self, drop: &Regex, sample: &protos::Sample) -> Vec<&str> {
        let is_dropped = |line: &protos::Line| drop.is_match(simplified(self.name(line)));
        // How many lines of the location, from the leaf, go with the outermost one that matches; none is `None`.
        let cut = |id: u64| self.location(id).line.iter().rposition(is_dropped).map(|last| last + 1);
        let mut found_user = false;
        let mut first = (0, 0);
        for (at, &id) in sample.location_id.iter().enumerate().rev() {
            match cut(id) {
                None => found_user = true,
                Some(_) if !found_user => {}
                Some(lines) => {
                    first = (at, lines);
                    break;
                }
            }
        }
        let lines = sample.location_id[first.0..].iter().flat_map(|&id| &self.location(id).line);
        lines.skip(first.1).map(|line| self.name(line)).collect()
    }
}

/// The name of a function of this program as a profile has it.
fn known(name: &str) -> String {
    format!("{}::{name}", module_path!())
}

/// A name as pprof matches it: cut at its first round bracket, which begins the arguments of C++'s.
fn simplified(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

/// What Parca and pprof refuse a profile for.
#[test]
fn every_reference_is_valid() {
    let Seen { profile, .. } = &*SEEN;
    assert_eq!(profile.string_table[0], "");
    let strings = 0..profile.string_table.len() as i64;
    let unique: HashSet<&String> = profile.string_table.iter().collect();
    assert_eq!(unique.len(), profile.string_table.len(), "every string once");

    let types: Vec<_> = profile.sample_type.iter().map(|t| (SEEN.text(t.ty), SEEN.text(t.unit))).collect();
    assert_eq!(types, SAMPLE_TYPES);
    assert!(!profile.sample.is_empty());
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), 4);
        assert!(sample.value.iter().all(|&value| value >= 0), "{:?}", sample.value);
        assert!(sample.value[0] >= sample.value[2] && sample.value[1] >= sample.value[3], "{:?}", sample.value);
        assert!(!sample.location_id.is_empty());
        assert!(sample.location_id.iter().all(|&id| (1..=profile.location.len() as u64).contains(&id)));
        for label in &sample.label {
            assert_eq!((SEEN.text(label.key), label.str), ("bytes", 0));
            assert!(label.num > 0);
        }
    }
    for (index, mapping) in profile.mapping.iter().enumerate() {
        assert_eq!(mapping.id, index as u64 + 1);
        assert!(mapping.memory_start < mapping.memory_limit);
        assert!(strings.contains(&mapping.filename) && strings.contains(&mapping.build_id));
        assert_ne!(SEEN.text(mapping.filename), "");
    }
    let mut places = HashSet::new();
    for (index, location) in profile.location.iter().enumerate() {
        assert_eq!(location.id, index as u64 + 1);
        assert!(places.insert(location.address), "one location for an address");
        if location.mapping_id != 0 {
            let mapping = &profile.mapping[location.mapping_id as usize - 1];
            assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address));
        }
        for line in &location.line {
            assert!((1..=profile.function.len() as u64).contains(&line.function_id));
            assert!(line.line >= 0);
        }
    }
    let mut functions = HashSet::new();
    for (index, function) in profile.function.iter().enumerate() {
        assert_eq!(function.id, index as u64 + 1);
        assert!([function.name, function.system_name, function.filename].iter().all(|text| strings.contains(text)));
        assert_ne!(SEEN.text(function.name), "");
        assert!(functions.insert((function.name, function.system_name, function.filename)), "each function once");
    }
}

#[test]
fn time_period_and_defaults_are_set() {
    let Seen { profile, taken, before, after, .. } = &*SEEN;
    let period = profile.period_type.as_ref().expect("period_type is set");
    assert_eq!((SEEN.text(period.ty), SEEN.text(period.unit), profile.period), ("space", "bytes", INTERVAL));
    assert_eq!(SEEN.text(profile.default_sample_type), "inuse_space");
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(profile.time_nanos as u64);
    assert_eq!(time, taken.time);
    assert!((before..=after).contains(&&time));
    assert_eq!(profile.duration_nanos, 0, "a snapshot covers no time");
    let comments: Vec<&str> = profile.comment.iter().map(|&text| SEEN.text(text)).collect();
    assert!(comments[0].starts_with("heapward "), "{comments:?}");
    assert!(comments.iter().all(|comment| !comment.starts_with("partial")), "{comments:?}");
}

#[test]
fn totals_are_the_snapshots() {
    let Seen { profile, taken, .. } = &*SEEN;
    let total = |index: usize| profile.sample.iter().map(|sample| sample.value[index]).sum::<i64>() as f64;
    // Each value of each sample is rounded to a whole number.
    let rounding = profile.sample.len() as f64 * 0.5 + 1.0;
    assert!((total(3) - taken.live_bytes).abs() <= rounding, "{} and {}", total(3), taken.live_bytes);
    assert!((total(2) - taken.live_objects).abs() <= rounding, "{} and {}", total(2), taken.live_objects);
    assert!(total(3) > (ONE_BLOCK.len() * N) as f64 && taken.partial.is_none());
}

/// A flag says that no names need to be looked up in a mapping: true only if every location there has them.
#[test]
fn mapping_flags_are_those_of_their_locations() {
    let Seen { profile, .. } = &*SEEN;
    for mapping in &profile.mapping {
        let locations: Vec<_> = profile.location.iter().filter(|location| location.mapping_id == mapping.id).collect();
        let all = |has: &dyn Fn(&protos::Line) -> bool| {
            !locations.is_empty() && locations.iter().all(|at| !at.line.is_empty() && at.line.iter().all(has))
        };
        let file = SEEN.text(mapping.filename);
        assert_eq!(mapping.has_functions, all(&|line| line.function_id > 0), "{file}");
        assert_eq!(mapping.has_filenames, all(&|line| SEEN.function(line).filename > 0), "{file}");
        assert_eq!(mapping.has_line_numbers, all(&|line| line.line > 0), "{file}");
        assert!(!mapping.has_inline_frames || mapping.has_line_numbers, "{file}");
    }
}

#[test]
fn mappings_are_those_of_the_system() {
    let Seen { profile, maps, .. } = &*SEEN;
    let program = std::env::current_exe().unwrap();
    let main = &profile.mapping[0];
    assert_eq!(SEEN.text(main.filename), program.to_string_lossy(), "viewers take the first mapping for the program");
    assert_eq!(SEEN.text(main.build_id), build_id(&std::fs::read(program).unwrap()).unwrap_or_default());
    assert!(profile.mapping.is_sorted_by_key(|mapping| mapping.memory_start));

    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    for mapping in &profile.mapping {
        let page = |address: u64| address & !4095;
        // `55d0c0a4f000-55d0c0b1c000 r-xp 0004f000 fe:00 1234   /path`
        let found = maps.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (start, limit) = fields[0].split_once('-').unwrap();
            fields[1].contains('x')
                && fields.get(5) == Some(&SEEN.text(mapping.filename))
                && hex(start) == page(mapping.memory_start)
                && hex(limit) == page(mapping.memory_limit + 4095)
                && hex(fields[2]) == page(mapping.file_offset)
                && mapping.memory_start % 4096 == mapping.file_offset % 4096
        });
        assert!(found, "{:#x} {} is not in\n{maps}", mapping.memory_start, SEEN.text(mapping.filename));
    }
}

/// The GNU build id as the notes of a 64-bit ELF file have it, in hex.
fn build_id(file: &[u8]) -> Option<String> {
    let number =
        |at: usize, size: usize| file[at..at + size].iter().rev().fold(0, |all, &byte| all << 8 | byte as usize);
    let (headers, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    // The id is the note that has these twelve bytes after its sizes: its kind, and its name.
    const MARK: &[u8] = b"\x03\0\0\0GNU\0";
    (0..count).map(|index| headers + index * size).filter(|&header| number(header, 4) == 4).find_map(|header| {
        let notes = number(header + 8, 8)..number(header + 8, 8) + number(header + 32, 8);
        let mark = file[notes.clone()].windows(MARK.len()).position(|window| window == MARK)? + notes.start;
        let id = &file[mark + MARK.len()..][..number(mark - 4, 4)];
        Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
    })
}

#[test]
fn stacks_begin_at_the_leaf() {
    let sample = SEEN.samples_of("on_one_line")[0];
    let names: Vec<&str> = SEEN.names(&sample.location_id).collect();
    let at = |name: &str| names.iter().position(|&frame| frame == name).unwrap_or_else(|| panic!("{name}: {names:#?}"));
    // Where jemalloc asks for the stack: in its own unwinder, or in what calls another.
    assert!(names[0].contains("prof_backtrace"), "{names:#?}");
    let main_or_thread = names.iter().rposition(|name| name.contains("__rust_begin_short_backtrace")).unwrap();
    assert!(at(&known("on_one_line")) < main_or_thread);
    assert_eq!(sample.value[2..], [1, N as i64]);
    assert_eq!(sample.label[0].num, N as i64);
}

#[test]
fn files_and_lines_are_those_of_the_source() {
    let sample = SEEN.samples_of("on_one_line")[0];
    let mut lines = sample.location_id.iter().flat_map(|&id| &SEEN.location(id).line);
    let line = lines.find(|line| SEEN.name(line) == known("on_one_line")).unwrap();
    assert_eq!(line.line, i64::from(*ON_ONE_LINE.get().unwrap()));
    let file = SEEN.text(SEEN.function(line).filename);
    assert!(file.ends_with(file!()) && file.starts_with('/'), "{file}");
    let system_name = SEEN.text(SEEN.function(line).system_name);
    assert!(system_name.starts_with("_ZN") || system_name.starts_with("_R"), "{system_name}");
}

#[test]
fn inlined_functions_come_before_what_they_are_inlined_into() {
    let sample = SEEN.samples_of("with_an_inlined_one")[0];
    let outer = known("with_an_inlined_one");
    let location = sample.location_id.iter().map(|&id| SEEN.location(id));
    let location = location.into_iter().find(|at| at.line.iter().any(|line| SEEN.name(line) == outer)).unwrap();
    let names: Vec<&str> = location.line.iter().map(|line| SEEN.name(line)).collect();
    let [.., inner, last] = names[..] else { panic!("{names:?}") };
    assert!(last == outer && inner.ends_with("inlined"), "{names:?}");
}

#[test]
fn drop_frames_names_the_allocator_and_nothing_of_this_program() {
    let drop = SEEN.drop_frames();
    for (name, _) in ONE_BLOCK {
        for sample in SEEN.samples_of(name) {
            let lines: Vec<_> = sample.location_id.iter().flat_map(|&id| &SEEN.location(id).line).collect();
            let leafward = lines.iter().position(|line| SEEN.name(line) == known(name)).expect("it is there");
            let of_allocator = |line: &protos::Line| {
                let file = SEEN.text(SEEN.function(line).filename);
                file.contains("/tikv-jemalloc") || file.ends_with("/library/alloc/src/alloc.rs")
            };
            let outermost =
                lines[..leafward].iter().rposition(|line| of_allocator(line)).expect("the allocator's own frames");
            for frame in lines[..=outermost].iter().map(|line| SEEN.name(line)) {
                assert!(drop.is_match(frame), "{name} allocates through {frame}, which is not dropped");
            }
        }
    }
    // With a name of its own, or as a trait's method: `<alloc::vec::Vec<alloc::string::String> as live_pprof::Stack>::push`.
    let own = [module_path!(), "::"].concat();
    // Not alloc's own traits, of which one of Rust's two manglings says for what type they were made.
    let is_own = |name: &&str| {
        name.contains(&format!(" as {own}"))
            || name.trim_start_matches('<').starts_with(&own)
                && !name.contains(" as alloc::")
                && !name.contains(" as <")
    };
    let names: Vec<&str> =
        SEEN.profile.function.iter().map(|function| SEEN.text(function.name)).filter(is_own).collect();
    assert!(names.len() > ONE_BLOCK.len() + THROUGH_CLOSURES.len() + THROUGH_VALUES.len());
    for name in names {
        assert!(!drop.is_match(name) && !drop.is_match(simplified(name)), "{name} would be dropped");
    }
}

#[test]
fn a_viewer_shows_the_caller_of_the_collection() {
    let drop = SEEN.drop_frames();
    let mut wrong = Vec::new();
    for (name, _) in ONE_BLOCK {
        let shown_as = known(if *name == "with_an_inlined_one" { "inlined" } else { name });
        let mut bytes = 0;
        for sample in SEEN.samples_of(name) {
            let shown = SEEN.pruned(&drop, sample);
            if shown[0] != shown_as {
                wrong.push(format!("{name}: flat is {} ({} bytes)", shown[0], sample.value[1]));
            }
            bytes += sample.value[3];
        }
        if bytes != N as i64 {
            wrong.push(format!("{name}: {bytes} bytes in use"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of sites, which is not made by a viewer.
#[test]
fn sites_are_the_callers_of_the_collections() {
    let drop = SEEN.drop_frames();
    let inuse = |name: &str| {
        let name = known(name);
        SEEN.top.iter().filter(|site| site.function == name).map(|site| site.inuse_bytes).sum::<i64>()
    };
    for (name, _) in ONE_BLOCK.iter().filter(|(name, _)| *name != "with_an_inlined_one") {
        assert_eq!(inuse(name), N as i64, "{name}");
    }
    // Many functions allocate through it, each once.
    assert!(inuse("made") >= (THROUGH_CLOSURES.len() * N) as i64, "{}", inuse("made"));
    for site in &SEEN.top {
        assert!(!drop.is_match(simplified(&site.function)), "{site:?}");
        // Functions of jemalloc's that no rule names.
        assert!(!site.file.contains("/tikv-jemalloc") && !site.function.starts_with("_rjem_"), "{site:?}");
    }
    let total: i64 = SEEN.profile.sample.iter().map(|sample| sample.value[3]).sum();
    assert_eq!(SEEN.top.iter().map(|site| site.inuse_bytes).sum::<i64>(), total, "nothing is lost");
}

#[test]
fn a_viewer_shows_what_closures_and_iterators_allocate() {
    let drop = SEEN.drop_frames();
    for (name, _) in THROUGH_CLOSURES {
        let name = if *name == "through_a_thread" { "through_a_thread_inside" } else { name };
        let made: Vec<_> = SEEN
            .samples_of(name)
            .into_iter()
            .filter(|sample| SEEN.names(&sample.location_id).any(|frame| frame == known("made")))
            .collect();
        for sample in &made {
            let shown = SEEN.pruned(&drop, sample);
            assert_eq!(shown[0], known("made"), "{name}: {shown:#?}");
            assert!(shown.contains(&&*known(name)), "{name}: {shown:#?}");
        }
        assert_eq!(made.iter().map(|sample| sample.value[3]).sum::<i64>(), N as i64, "{name}");
    }
}

#[test]
fn what_a_value_allocates_for_itself_counts_for_code_of_this_program() {
    let drop = SEEN.drop_frames();
    for (name, _) in THROUGH_VALUES {
        for sample in SEEN.samples_of(name).into_iter().filter(|sample| sample.value[3] >= N as i64) {
            let shown = SEEN.pruned(&drop, sample);
            match *name {
                "through_own_method" => assert!(shown[0].ends_with(" as live_pprof::Stack>::push"), "{shown:#?}"),
                // Takes anything that turns itself into bytes: code of the service, perhaps.
                "through_c_string" => assert!(shown[..2].contains(&&*known(name)), "{shown:#?}"),
                // In one of Rust's two manglings, the same function for a service's own type has another name.
                "through_display" => assert!(shown[0].contains("live_pprof::"), "{shown:#?}"),
                _ => assert_eq!(shown[0], known(name), "{shown:#?}"),
            }
        }
    }
}
