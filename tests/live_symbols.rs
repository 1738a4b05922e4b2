//! Names of the addresses of real stacks: that there are names, files and lines at all, and that they are those that
//! binutils' addr2line gives. Worth the most in a release build, where most calls are inlined:
//! `cargo test --release --test live_symbols -- --include-ignored`.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::{Random, decode, profiler, seed};
use pprof::protos;

heapward::install!("lg_prof_sample:0");

/// One function at an address, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    name: String,
    file: String,
    line: u64,
}

/// One location of the profile.
#[derive(Clone, Debug)]
struct Location {
    /// As the program's own file has it; `None` in a library.
    address: Option<u64>,
    functions: Vec<Function>,
}

/// The locations of a profile that is taken once for all tests.
fn locations() -> &'static [Location] {
    static LOCATIONS: OnceLock<Vec<Location>> = OnceLock::new();
    LOCATIONS.get_or_init(|| {
        let profiler = profiler().start().unwrap();
        let kept = work();
        let profile = decode(&profiler.live_heap_prof().unwrap());
        profiler.shutdown();
        drop(kept);
        let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let start = program_start(&program);
        let text = |index: i64| profile.string_table[index as usize].clone();
        let functions: HashMap<u64, &protos::Function> = profile.function.iter().map(|f| (f.id, f)).collect();
        let is_program: HashMap<u64, bool> =
            profile.mapping.iter().map(|mapping| (mapping.id, text(mapping.filename) == program)).collect();
        let location = |location: &protos::Location| Location {
            address: is_program.get(&location.mapping_id).is_some_and(|is| *is).then(|| location.address - start),
            functions: location
                .line
                .iter()
                .map(|line| {
                    let function = functions[&line.function_id];
                    Function { name: text(function.name), file: text(function.filename), line: line.line as u64 }
                })
                .collect(),
        };
        profile.location.iter().map(location).collect()
    })
}

/// Where the first byte of the program's file is mapped.
fn program_start(program: &str) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with(program)).expect("the program is mapped");
    u64::from_str_radix(line.split_once('-').unwrap().0, 16).unwrap()
}

/// Allocates in as many ways as there are at hand: collections, parsers, formatting, threads, closures.
fn work() -> Vec<Box<dyn std::any::Any>> {
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    for pattern in [r"(?i)heap\w{2,40}(ward|words)?", r"^\p{Greek}+[\d--7]{3}$", r"(a|b|cd)*?x{1,9}\b|(?P<y>z+)"] {
        let regex = regex::Regex::new(pattern).unwrap();
        kept.push(Box::new(regex.replace_all("heapward 123 αβγ888 abcdxz", "$y").into_owned()));
        kept.push(Box::new(regex));
    }
    let json = r#"{"sites": [{"name": "open", "bytes": 1.5e3, "live": true}, null, "\u00e9", -7], "empty": {}}"#;
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    kept.push(Box::new(serde_json::to_string_pretty(&value).unwrap()));
    kept.push(Box::new(value));
    let words: BTreeMap<String, Vec<usize>> =
        json.split('"').enumerate().fold(BTreeMap::new(), |mut words, (n, word)| {
            words.entry(word.to_owned()).or_default().push(n);
            words
        });
    kept.push(Box::new(words.clone()));
    let mut sorted: Vec<(String, usize)> = words.into_iter().map(|(word, at)| (word, at.len())).collect();
    sorted.sort_by_cached_key(|(word, n)| (format!("{word:>12}"), *n));
    kept.push(Box::new(sorted));
    let threads: Vec<_> = (0..3u8)
        .map(|n| std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || vec![n; 1000]).unwrap())
        .collect();
    kept.extend(threads.into_iter().map(|thread| Box::new(thread.join().unwrap()) as Box<dyn std::any::Any>));
    kept.push(Box::new(std::env::vars().collect::<HashMap<_, _>>()));
    kept.push(Box::new(std::fs::read_dir("/").unwrap().flatten().map(|e| e.file_name()).collect::<Vec<_>>()));
    kept.push(Box::new(sprout(black_box(40))));
    kept
}

#[inline(never)]
fn sprout(size: usize) -> Vec<u8> {
    let mut leaves = unfold(size);
    black_box(&mut leaves).push(1);
    leaves
}

#[inline(always)]
fn unfold(size: usize) -> Vec<u8> {
    Vec::with_capacity(size)
}

#[test]
fn almost_every_frame_has_a_name_a_file_and_a_line() {
    let locations = locations();
    let count = |is: &dyn Fn(&Location) -> bool| locations.iter().filter(|location| is(location)).count();
    let all = locations.len();
    let named = count(&|location| !location.functions.is_empty());
    let frames: Vec<&Function> = locations.iter().flat_map(|location| &location.functions).collect();
    let placed = frames.iter().filter(|frame| !frame.file.is_empty() && frame.line > 0).count();
    let inlined = count(&|location| location.functions.len() > 1);
    println!("{all} locations, {named} named, {inlined} with inlined functions");
    println!("{} frames, {placed} with file and line", frames.len());
    let unnamed: Vec<_> = locations.iter().filter(|location| location.functions.is_empty()).collect();
    assert!(all >= 500, "too few to tell");
    assert!(named * 1000 >= all * 995, "{unnamed:#?}");
    assert!(placed * 100 >= frames.len() * 98, "{placed} of {}", frames.len());
    if !cfg!(debug_assertions) {
        assert!(inlined * 4 >= all, "{inlined} of {all}");
    }
}

#[test]
fn inlined_functions_stand_before_what_they_are_inlined_into() {
    let chain = locations()
        .iter()
        .map(|location| &location.functions)
        .find(|functions| functions.iter().any(|function| function.name.ends_with("unfold")))
        .expect("a location in `unfold`");
    let at = chain.iter().position(|function| function.name.ends_with("unfold")).unwrap();
    // Only a build without optimization keeps a frame of its own for what is always inlined; this is none.
    let (unfold, sprout) = (&chain[at], &chain[at + 1]);
    assert_eq!(sprout.name, "live_symbols::sprout", "{chain:#?}");
    assert!(unfold.name == "live_symbols::unfold", "the root of this test's crate is this file: {chain:#?}");
    for function in [unfold, sprout] {
        let line = std::fs::read_to_string(&function.file).unwrap();
        let line = line.lines().nth(function.line as usize - 1).unwrap().trim().to_owned();
        let expect = if function == unfold { "Vec::with_capacity(size)" } else { "let mut leaves = unfold(size);" };
        assert_eq!(line, expect, "{function:?}");
    }
}

/// What addr2line prints for an address of the program.
type Printed = Vec<Function>;

fn addr2line(addresses: &[u64]) -> Vec<Printed> {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new("addr2line")
        .args(["-a", "-i", "-f", "-C", "-e"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut printed: Vec<Printed> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            printed.push(Vec::new());
            continue;
        }
        let place = lines.next().unwrap();
        let place = place.split_once(" (discriminator").map_or(place, |(place, _)| place);
        let (file, number) = place.rsplit_once(':').unwrap();
        printed.last_mut().unwrap().push(Function {
            name: line.to_owned(),
            file: file.to_owned(),
            // `?` where the compiler names no line.
            line: number.parse().unwrap_or(0),
        });
    }
    assert_eq!(printed.len(), addresses.len());
    printed
}

#[test]
#[ignore = "needs addr2line (Debian package binutils)"]
fn functions_files_and_lines_are_those_of_addr2line() {
    const SAMPLE: usize = 500;
    let mut of_program: Vec<(u64, &[Function])> =
        locations().iter().filter_map(|location| Some((location.address?, &location.functions[..]))).collect();
    println!("seed {} (LIVE_SEED), {} addresses of the program", seed(), of_program.len());
    let mut random = Random::of_thread(0);
    while of_program.len() > SAMPLE {
        of_program.swap_remove(random.within(0..of_program.len()));
    }
    assert!(of_program.len() == SAMPLE, "too few to tell");
    let addresses: Vec<u64> = of_program.iter().map(|(address, _)| *address).collect();
    let printed = addr2line(&addresses);
    let different: Vec<_> = of_program
        .iter()
        .zip(&printed)
        .filter(|((_, ours), theirs)| {
            ours.len() != theirs.len() || !ours.iter().zip(*theirs).all(|(a, b)| is_same(a, b))
        })
        .collect();
    for ((address, ours), theirs) in &different {
        println!("{address:#x}\n  heapward:  {ours:?}\n  addr2line: {theirs:?}");
    }
    println!("{} of {SAMPLE} differ", different.len());
    assert!(different.len() * 100 <= SAMPLE, "{} of {SAMPLE} differ", different.len());
}

/// Whether both say the same. What differs by design:
/// - addr2line prints `??` for a file that is not known, where the profile has none;
/// - a short name of line-table debug information has its module in front in the profile: `alloc::vec::push<u8>` for
///   addr2line's `push<u8>`.
fn is_same(ours: &Function, theirs: &Function) -> bool {
    let file = if theirs.file == "??" { "" } else { &theirs.file };
    let name =
        ours.name == theirs.name || ours.name.strip_suffix(&*theirs.name).is_some_and(|module| module.ends_with("::"));
    name && (&*ours.file, ours.line) == (file, theirs.line)
}
