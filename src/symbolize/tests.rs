//! What is found in files that a C compiler makes here: jemalloc is built with one, so there is one.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object::elf;
use object::read::elf::Sym;
use tempfile::TempDir;

use super::dwarf::{Dwarf, Unpacked};
use super::elf::{ENDIAN, Elf};
use super::resolver::{Resolved, Resolver};
use crate::profile::{Address, BuildId, Frame, Function, Mapping, Unknown};

/// Where the file is said to be loaded. Nothing is: only the file on disk is read.
const START: u64 = 0x7000_0000_0000;

/// `plant` calls `water` in itself, from line 7; `water` calls `sip` in itself, from line 4.
const GARDEN: &str = "\
int pour(int);
int dig(int);
static inline __attribute__((always_inline)) int sip(int x) { return pour(x * 3) + 1; }
static inline __attribute__((always_inline)) int water(int x) { return sip(x + 5) * 7; }
__attribute__((noinline)) static int hidden(int x) { return pour(x) ^ 9; }
int plant(int x) {
    return water(x) + dig(x);
}
int harvest(int x) { return hidden(x) + dig(x + 1); }
";

const SHED: &str = "\
__attribute__((noinline)) int pour(int x) { volatile int y = x; return y; }
__attribute__((noinline)) int dig(int x) { volatile int y = x + 1; return y; }
";

struct Library {
    folder: TempDir,
    file: PathBuf,
}

impl Library {
    fn new(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libgarden.so");
        for (name, source) in [("garden.c", GARDEN), ("shed.c", SHED)] {
            std::fs::write(folder.path().join(name), source).unwrap();
        }
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.current_dir(folder.path()).args(["-shared", "-fPIC", "-O2", "-Wl,--build-id", "-o"]).arg(&file);
        run(command.args(flags).args(["garden.c", "shed.c"]));
        Self { folder, file }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.file).unwrap()
    }

    fn source(&self, name: &str) -> String {
        self.folder.path().canonicalize().unwrap().join(name).to_string_lossy().into_owned()
    }

    /// The addresses of a function's code, as if the file were loaded.
    fn code(&self, function: &str) -> Vec<Address> {
        let bytes = self.bytes();
        let elf = Elf::parse(&bytes).unwrap();
        let mapping = mapping(&self.file);
        let table = elf.symbols().unwrap();
        let symbol = table
            .symbols()
            .iter()
            .find(|symbol| table.strings().get(symbol.st_name(ENDIAN)) == Ok(function.as_bytes()))
            .unwrap_or_else(|| panic!("no symbol {function}"));
        let start = symbol.st_value(ENDIAN) - elf.address_of(&mapping).unwrap() + START;
        (0..symbol.st_size(ENDIAN)).map(|offset| Address(start + offset)).collect()
    }

    /// Every frame of a function's code.
    fn frames(&self, function: &str) -> Vec<Frame> {
        frames(resolve(&self.code(function), &mapping(&self.file), &[]))
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The mapping of the code of `file`, as if it were loaded.
fn mapping(file: &Path) -> Mapping {
    let bytes = std::fs::read(file).unwrap();
    let (offset, size) = code_segment(&bytes);
    Mapping {
        start: START,
        limit: START + size,
        file_offset: offset,
        path: file.to_string_lossy().into_owned(),
        build_id: Elf::parse(&bytes).unwrap().build_id(),
    }
}

fn code_segment(bytes: &[u8]) -> (u64, u64) {
    use object::read::elf::{FileHeader, ProgramHeader};
    let header = elf::FileHeader64::<object::NativeEndian>::parse(bytes).unwrap();
    let segments = header.program_headers(ENDIAN, bytes).unwrap();
    let code = segments
        .iter()
        .find(|segment| segment.p_type(ENDIAN) == elf::PT_LOAD && segment.p_flags(ENDIAN).contains(elf::PF_X));
    let code = code.expect("a library has code");
    (code.p_offset(ENDIAN), code.p_memsz(ENDIAN))
}

fn resolve(addresses: &[Address], mapping: &Mapping, debug_dirs: &[PathBuf]) -> Vec<Resolved> {
    let mut strings: HashSet<Arc<str>> = HashSet::new();
    let mut intern = |text: &str| {
        strings.insert(text.into());
        strings.get(text).unwrap().clone()
    };
    let mut opened = 0;
    let mut resolver = Resolver { debug_dirs, intern: &mut intern, opened: &mut opened, is_loaded: true };
    let resolved = resolver.resolve(addresses, std::slice::from_ref(mapping));
    assert_eq!(resolved.len(), addresses.len());
    resolved
}

fn frames(resolved: Vec<Resolved>) -> Vec<Frame> {
    resolved.into_iter().map(|resolved| resolved.frame).collect()
}

/// Name, file name and line of each function, innermost first.
fn shown(frame: &Frame) -> Vec<(&str, &str, u32)> {
    fn of(function: &Function) -> (&str, &str, u32) {
        (&function.name, function.file.rsplit('/').next().unwrap_or_default(), function.line)
    }
    frame.functions().iter().map(of).collect()
}

const IN_SIP: [(&str, &str, u32); 3] = [("sip", "garden.c", 3), ("water", "garden.c", 4), ("plant", "garden.c", 7)];

/// Whether everything is found: both inlined functions, with where they were called, and static ones.
#[track_caller]
fn check_garden(library: &Library, flags: &str) {
    let plant = library.frames("plant");
    assert!(plant.iter().any(|frame| shown(frame) == IN_SIP), "{flags}: {plant:#?}");
    for frame in &plant {
        let outermost = frame.functions().last().unwrap_or_else(|| panic!("{flags}: {plant:#?}"));
        assert_eq!((&*outermost.name, &*outermost.file), ("plant", &*library.source("garden.c")), "{flags}");
        assert!((6..=8).contains(&outermost.line), "{flags}: {outermost:?}");
    }
    let hidden = library.frames("hidden");
    assert!(hidden.iter().any(|frame| shown(frame) == [("hidden", "garden.c", 5)]), "{flags}: {hidden:#?}");
    let dig = library.frames("dig");
    assert!(dig.iter().any(|frame| shown(frame) == [("dig", "shed.c", 2)]), "{flags}: {dig:#?}");
}

#[test]
fn inlined_functions_are_found_in_either_version_of_dwarf() {
    for flags in [&["-gdwarf-4"][..], &["-gdwarf-5"], &["-g", "-ffunction-sections"]] {
        check_garden(&Library::new(flags), &format!("{flags:?}"));
    }
}

/// Linking with optimization puts the functions into units of their own, which refer to those of the sources.
#[test]
fn names_are_followed_into_other_units() {
    let library = Library::new(&["-g", "-flto", "-ffat-lto-objects"]);
    check_garden(&library, "-flto");
}

#[test]
fn compressed_sections_are_unpacked() {
    let library = Library::new(&["-g", "-gz=zlib"]);
    let bytes = library.bytes();
    let elf = Elf::parse(&bytes).unwrap();
    assert!(elf.packed(elf.section(b".debug_info").unwrap()).is_some(), "nothing is compressed, so nothing is tried");
    check_garden(&library, "-gz=zlib");
}

/// Not every compiler writes `.debug_aranges`.
#[test]
fn units_are_found_by_their_own_ranges() {
    for flags in [&["-gdwarf-4"][..], &["-gdwarf-5"], &["-g", "-ffunction-sections"]] {
        let library = Library::new(flags);
        let mut bytes = library.bytes();
        replace(&mut bytes, b".debug_aranges\0", b".debug_arangeZ\0");
        std::fs::write(&library.file, bytes).unwrap();
        check_garden(&library, &format!("{flags:?} without aranges"));
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("what is to be replaced");
    bytes[at..at + from.len()].copy_from_slice(to);
}

#[test]
fn without_debug_information_there_are_symbols() {
    let library = Library::new(&[]);
    for function in ["plant", "hidden", "dig"] {
        for frame in library.frames(function) {
            assert_eq!(shown(&frame), [(function, "", 0)]);
        }
    }
}

#[test]
fn debug_information_that_is_too_much_to_unpack_leaves_symbols() {
    for (megabytes, is_unpacked) in [(7usize, true), (9, false)] {
        let library = Library::new(&["-g", "-gz=zlib"]);
        let mut bytes = library.bytes();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&vec![0; megabytes << 20]).unwrap();
        let zlib = zlib.finish().unwrap();
        // `.debug_info` is moved to the end of the file, with other bytes in it.
        let (header, section) = {
            let elf = Elf::parse(&bytes).unwrap();
            let section = elf.section(b".debug_info").unwrap();
            let place = |pointer: usize| pointer - bytes.as_ptr() as usize;
            (place(std::ptr::from_ref(section) as usize), place(elf.data_of(section).unwrap().as_ptr() as usize))
        };
        let mut packed = bytes[section..section + 24].to_vec();
        packed[8..16].copy_from_slice(&((megabytes as u64) << 20).to_ne_bytes());
        packed.extend(zlib);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let (offset, size) = (bytes.len() as u64, packed.len() as u64);
        bytes[header + 24..header + 32].copy_from_slice(&offset.to_ne_bytes());
        bytes[header + 32..header + 40].copy_from_slice(&size.to_ne_bytes());
        bytes.extend(packed);
        std::fs::write(&library.file, &bytes).unwrap();
        assert_eq!(Unpacked::of(&Elf::parse(&bytes).unwrap()).is_some(), is_unpacked, "{megabytes} MiB");
        for frame in library.frames("plant") {
            assert_eq!(shown(&frame).last().unwrap().0, "plant");
        }
    }
}

/// An inlined call that stands for itself, and so on.
#[test]
fn a_name_that_leads_in_a_circle_is_given_up() {
    let library = Library::new(&["-gdwarf-4"]);
    let mut bytes = library.bytes();
    let info = {
        let elf = Elf::parse(&bytes).unwrap();
        let info = elf.data_of(elf.section(b".debug_info").unwrap()).unwrap();
        let start = info.as_ptr() as usize - bytes.as_ptr() as usize;
        let unpacked = Unpacked::of(&elf).unwrap();
        let dwarf = Dwarf::of(&elf, &unpacked);
        let unit = dwarf.header(0).unwrap();
        let abbreviations = unit.abbreviations(&dwarf.sections.debug_abbrev).unwrap();
        let mut entries = unit.entries_raw(&abbreviations, None).unwrap();
        let mut circles = Vec::new();
        while !entries.is_empty() {
            let entry = entries.next_offset().0;
            let Some(abbreviation) = entries.read_abbreviation().unwrap() else { continue };
            for spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(*spec).unwrap();
                let place = start + entries.next_offset().0 - 4;
                if abbreviation.tag() == gimli::DW_TAG_inlined_subroutine
                    && attribute.name() == gimli::DW_AT_abstract_origin
                {
                    circles.push((place, entry as u32));
                }
            }
        }
        circles
    };
    assert!(!info.is_empty(), "no inlined call");
    for (place, entry) in info {
        bytes[place..place + 4].copy_from_slice(&entry.to_ne_bytes());
    }
    std::fs::write(&library.file, bytes).unwrap();
    let begun = Instant::now();
    for frame in library.frames("plant") {
        assert_eq!(shown(&frame).last().unwrap().0, "plant");
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// Runs `strip` or `objcopy` on the library.
fn binutils(program: &str, arguments: &[&str], folder: &Path) {
    run(Command::new(program).current_dir(folder).args(arguments));
}

#[test]
#[ignore = "needs strip (Debian package binutils)"]
fn a_stripped_file_has_the_names_that_it_exports() {
    let library = Library::new(&["-g"]);
    let (plant, hidden) = (library.code("plant"), library.code("hidden"));
    binutils("strip", &["libgarden.so"], library.folder.path());
    let mapping = mapping(&library.file);
    for frame in frames(resolve(&plant, &mapping, &[])) {
        assert_eq!(shown(&frame), [("plant", "", 0)]);
    }
    for resolved in resolve(&hidden, &mapping, &[]) {
        assert_eq!(resolved, Resolved { frame: Frame::Unknown(Unknown::NoSymbol), is_final: true });
    }
    // What pads a function to the next one is in none.
    let padding = [Address(plant[plant.len() - 1].0 + 1)];
    assert_eq!(frames(resolve(&padding, &mapping, &[])), [Frame::Unknown(Unknown::NoSymbol)]);
}

#[test]
#[ignore = "needs objcopy and strip (Debian package binutils)"]
fn a_separate_debug_file_is_found_by_build_id() {
    let library = Library::new(&["-g"]);
    let (plant, hidden) = (library.code("plant"), library.code("hidden"));
    let folder = library.folder.path();
    binutils("objcopy", &["--only-keep-debug", "libgarden.so", "whole.debug"], folder);
    binutils("strip", &["libgarden.so"], folder);
    let mapping = mapping(&library.file);
    let id = mapping.build_id.as_ref().unwrap().to_string();
    let place = folder.join("symbols/.build-id").join(&id[..2]);
    std::fs::create_dir_all(&place).unwrap();
    let debug_file = place.join(format!("{}.debug", &id[2..]));
    std::fs::rename(folder.join("whole.debug"), &debug_file).unwrap();
    let folders = [folder.join("none"), folder.join("symbols")];

    let found = frames(resolve(&plant, &mapping, &folders));
    assert!(found.iter().any(|frame| shown(frame) == IN_SIP), "{found:#?}");
    let found = frames(resolve(&hidden, &mapping, &folders));
    assert!(found.iter().any(|frame| shown(frame) == [("hidden", "garden.c", 5)]), "{found:#?}");

    // The debug file of another build, at the right place.
    let other = Library::new(&["-g", "-O1"]);
    binutils("objcopy", &["--only-keep-debug", "libgarden.so", "whole.debug"], other.folder.path());
    std::fs::copy(other.folder.path().join("whole.debug"), &debug_file).unwrap();
    for frame in frames(resolve(&plant, &mapping, &folders)) {
        assert_eq!(shown(&frame), [("plant", "", 0)]);
    }
}

#[test]
#[ignore = "needs objcopy and strip (Debian package binutils)"]
fn a_separate_debug_file_is_found_by_its_link() {
    for (build_id, place) in [("-Wl,--build-id", "garden.debug"), ("-Wl,--build-id=none", ".debug/garden.debug")] {
        let library = Library::new(&["-g", build_id]);
        let plant = library.code("plant");
        let folder = library.folder.path();
        std::fs::create_dir(folder.join(".debug")).unwrap();
        binutils("objcopy", &["--only-keep-debug", "libgarden.so", "garden.debug"], folder);
        binutils("strip", &["libgarden.so"], folder);
        binutils("objcopy", &["--add-gnu-debuglink=garden.debug", "libgarden.so"], folder);
        std::fs::rename(folder.join("garden.debug"), folder.join(place)).unwrap();
        let find = || frames(resolve(&plant, &mapping(&library.file), &[]));
        assert!(find().iter().any(|frame| shown(frame) == IN_SIP), "{build_id}");
        // One that was changed since.
        let mut bytes = std::fs::read(folder.join(place)).unwrap();
        let id = mapping(&library.file).build_id;
        match &id {
            Some(id) => {
                let mut other = id.0.clone();
                other[0] ^= 1;
                replace(&mut bytes, &id.0, &other);
            }
            None => bytes.push(0),
        }
        std::fs::write(folder.join(place), bytes).unwrap();
        assert!(find().iter().all(|frame| shown(frame) == [("plant", "", 0)]), "{build_id}");
    }
}

#[test]
fn a_file_that_was_replaced_gives_no_name() {
    let library = Library::new(&["-g"]);
    let code = library.code("plant");
    #[track_caller]
    fn check(code: &[Address], mapping: &Mapping, expect: Unknown, is_final: bool) {
        for resolved in resolve(code, mapping, &[]) {
            assert_eq!(resolved, Resolved { frame: Frame::Unknown(expect), is_final });
        }
    }
    let loaded = mapping(&library.file);
    check(&code, &Mapping { build_id: Some(BuildId([7; 20].into())), ..loaded.clone() }, Unknown::Replaced, true);
    check(&code, &Mapping { limit: loaded.limit + 8, build_id: None, ..loaded.clone() }, Unknown::Replaced, true);
    let elsewhere = |path: &str| Mapping { path: path.to_owned(), ..loaded.clone() };
    check(&code, &elsewhere("[vdso]"), Unknown::NoSymbol, true);
    check(&code, &elsewhere(&library.source("none")), Unknown::Unreadable, false);
    check(&code, &elsewhere(&library.source("garden.c")), Unknown::Unreadable, false);
    check(&code, &elsewhere("/"), Unknown::Unreadable, false);
    check(&[Address(8)], &loaded, Unknown::NoMapping, true);
}

/// Two functions with equal offsets in two files.
#[test]
fn equal_offsets_in_two_files_are_told_apart() {
    let one = Library::new(&["-g"]);
    let other = Library::new(&["-g", "-Dplant=plow", "-Dsip=drink"]);
    let code = one.code("plant");
    const APART: u64 = 1 << 30;
    let second = mapping(&other.file);
    let second = Mapping { start: second.start + APART, limit: second.limit + APART, ..second };
    let mappings = [mapping(&one.file), second];
    let moved: Vec<Address> = code.iter().map(|address| Address(address.0 + APART)).collect();
    let addresses: Vec<Address> = code.iter().chain(&moved).copied().collect();
    let (mut intern, mut opened) = (|text: &str| Arc::from(text), 0);
    let resolved = Resolver { debug_dirs: &[], intern: &mut intern, opened: &mut opened, is_loaded: true }
        .resolve(&addresses, &mappings);
    let (first, second) = resolved.split_at(code.len());
    for (half, name) in [(first, "plant"), (second, "plow")] {
        assert!(half.iter().all(|resolved| shown(&resolved.frame).last().is_some_and(|f| f.0 == name)), "{half:#?}");
    }
    assert_eq!(opened, 2);
}

/// How often each file is damaged.
const ROUNDS: usize = 150;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// Far longer than it takes, also on a busy machine; and shorter than the patience at which looking names up ends by itself.
const SOON: Duration = Duration::from_secs(10);

/// Whatever is in the file: an answer for each address, soon, and no panic.
#[test]
fn damaged_files_do_no_harm() {
    let seed = match std::env::var("HEAPWARD_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => 1,
    };
    println!("seed {seed} (HEAPWARD_TEST_SEED)");
    let mut random = Random(seed);
    for flags in [&["-gdwarf-4"][..], &["-gdwarf-5"], &["-g", "-gz=zlib"], &["-g", "-flto", "-ffat-lto-objects"]] {
        let library = Library::new(flags);
        let whole = library.bytes();
        let mapping = mapping(&library.file);
        let mut addresses: Vec<Address> =
            ["plant", "hidden", "dig"].iter().flat_map(|name| library.code(name)).step_by(3).collect();
        addresses.sort_unstable();
        let sections = debug_sections(&whole);
        for round in 0..ROUNDS {
            let mut bytes = whole.clone();
            if round % 8 == 0 {
                bytes.truncate(random.below(whole.len()));
            }
            for _ in 0..1 + random.below(6) {
                let (start, len) = match random.below(8) {
                    0 => (0, whole.len()),
                    _ => sections[random.below(sections.len())],
                };
                if let Some(byte) = bytes.get_mut(start + random.below(len)) {
                    *byte = match random.below(4) {
                        0 => 0,
                        1 => 0xff,
                        2 => *byte ^ (1 << random.below(8)),
                        _ => random.below(256) as u8,
                    };
                }
            }
            bytes.push(0);
            std::fs::write(&library.file, &bytes).unwrap();
            let begun = Instant::now();
            resolve(&addresses, &mapping, &[]);
            let time = begun.elapsed();
            assert!(time < SOON, "{flags:?}, round {round} of seed {seed}: {time:?}");
        }
    }
}

/// Where the debug sections are, and the tables that lead to them.
fn debug_sections(bytes: &[u8]) -> Vec<(usize, usize)> {
    let elf = Elf::parse(bytes).unwrap();
    let names: [&[u8]; 8] = [
        b".debug_info",
        b".debug_abbrev",
        b".debug_line",
        b".debug_aranges",
        b".debug_ranges",
        b".debug_rnglists",
        b".symtab",
        b".debug_line_str",
    ];
    let places = names.iter().filter_map(|name| {
        let data = elf.data_of(elf.section(name)?)?;
        Some((data.as_ptr() as usize - bytes.as_ptr() as usize, data.len()))
    });
    places.collect()
}
