//! Addresses to functions, file by file and unit by unit: nothing is indexed, and what was read is given back before
//! the next unit is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::debug_file;
use super::debug_info::{self, Found};
use super::dwarf::{Dwarf, Unpacked};
use super::elf::Elf;
use super::meter::{Deadline, Meter, Read, Stop};
use super::names::{full_name, is_mangled};
use super::symbols;
use crate::profile::{Address, Frame, Function, Mapping, Unknown};
use crate::system::MappedFile;

/// How long names are looked up at a time. What is left is named from symbol tables alone, until somebody asks again.
/// Half of what a caller waits for.
const PATIENCE: Duration = Duration::from_secs(15);

/// The program's own file, also when it was deleted or another was moved to its place.
const PROGRAM: &str = "/proc/self/exe";

/// What was found for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) frame: Frame,
    /// Whether asking again would give the same.
    pub(super) is_final: bool,
}

impl Resolved {
    fn unknown(reason: Unknown) -> Self {
        // What cannot be read may be readable the next time.
        Self { frame: Frame::Unknown(reason), is_final: reason != Unknown::Unreadable }
    }
}

/// Looks names up.
pub(super) struct Resolver<'a> {
    /// Folders that hold separate debug files.
    pub(super) debug_dirs: &'a [PathBuf],
    pub(super) intern: &'a mut dyn FnMut(&str) -> Arc<str>,
    /// How many files were opened.
    pub(super) opened: &'a mut usize,
    /// Whether the files are loaded. Where they are not, nothing but their build id says that they are those of then.
    pub(super) is_loaded: bool,
}

impl Resolver<'_> {
    /// What is known about each of `addresses`, which are sorted, in their order. `loaded` are the files of now.
    pub(super) fn resolve(&mut self, addresses: &[Address], loaded: &[Mapping]) -> Vec<Resolved> {
        let deadline = Deadline::after(PATIENCE);
        let program = std::fs::read_link(PROGRAM).ok();
        let mut resolved = Vec::with_capacity(addresses.len());
        for group in addresses.chunk_by(|a, b| Mapping::find(loaded, *a) == Mapping::find(loaded, *b)) {
            let Some(mapping) = Mapping::find(loaded, group[0]).map(|index| &loaded[index]) else {
                resolved.extend(group.iter().map(|_| Resolved::unknown(Unknown::NoMapping)));
                continue;
            };
            let path = Path::new(&mapping.path);
            let path = if program.as_deref() == Some(path) { Path::new(PROGRAM) } else { path };
            match self.module(mapping, path, group, deadline) {
                Ok(found) => resolved.extend(found),
                Err(reason) => resolved.extend(group.iter().map(|_| Resolved::unknown(reason))),
            }
        }
        resolved
    }

    /// What is known about `addresses`, which lie in `mapping`, from the file at `path`.
    fn module(
        &mut self,
        mapping: &Mapping,
        path: &Path,
        addresses: &[Address],
        deadline: Deadline,
    ) -> Result<Vec<Resolved>, Unknown> {
        if mapping.path == "[vdso]" {
            // The kernel's page is no file.
            return Err(Unknown::NoSymbol);
        }
        if !self.is_loaded && mapping.build_id.is_none() {
            return Err(Unknown::Unidentified);
        }
        let file = MappedFile::open(path).map_err(|_| Unknown::Unreadable)?;
        *self.opened += 1;
        let elf = Elf::parse(&file).ok_or(Unknown::Unreadable)?;
        let build_id = elf.build_id();
        let is_known = mapping.build_id.is_some() && (build_id.is_some() || !self.is_loaded);
        if is_known && mapping.build_id != build_id {
            return Err(Unknown::Replaced);
        }
        let start = elf.address_of(mapping).ok_or(Unknown::Replaced)?;
        let addresses: Vec<u64> =
            addresses.iter().map(|address| (address.0 - mapping.start).wrapping_add(start)).collect();

        let debug_file = match elf.has_debug_info() {
            true => None,
            false => {
                // The program's path, for what stands next to it.
                let path = if path == Path::new(PROGRAM) { Path::new(&mapping.path) } else { path };
                debug_file::find(&elf, path, build_id.as_ref(), self.debug_dirs, self.opened)
            }
        };
        let debug = match &debug_file {
            Some(file) => Some((Elf::parse(file).ok_or(Unknown::Unreadable)?, file)),
            None => None,
        };
        let (debug_elf, debug_mapped) = debug.as_ref().map_or((&elf, &file), |(elf, file)| (elf, *file));

        let unpacked = Unpacked::of(debug_elf);
        let mut meter = Meter::new(debug_mapped, deadline);
        let (found, mut is_late) = match &unpacked {
            Some(unpacked) => debug_info::find(&Dwarf::of(debug_elf, unpacked), &addresses, &mut meter, self.intern),
            None => (vec![Found::default(); addresses.len()], false),
        };
        meter.release();
        let symbols = match symbol_names(&elf, &file, debug.as_ref(), &addresses, &found, deadline) {
            Ok(symbols) => symbols,
            Err(stop) => {
                is_late |= stop == Stop::Late;
                vec![None; addresses.len()]
            }
        };
        let resolved = found.into_iter().zip(symbols).map(|(found, symbol)| {
            let is_final = found.is_complete || !is_late;
            let functions = functions(&found, symbol.as_deref(), self.intern);
            let frame = match functions.is_empty() {
                true => Frame::Unknown(Unknown::NoSymbol),
                false => Frame::Known(functions.into()),
            };
            Resolved { frame, is_final }
        });
        Ok(resolved.collect())
    }
}

/// The name that a symbol table gives to each of `addresses`, where the debug information has no full one.
fn symbol_names<'d>(
    elf: &Elf<'d>,
    file: &MappedFile,
    debug: Option<&(Elf<'d>, &MappedFile)>,
    addresses: &[u64],
    found: &[Found],
    deadline: Deadline,
) -> Read<Vec<Option<Arc<str>>>> {
    let mut names = vec![None; addresses.len()];
    let is_wanted = |found: &Found| {
        found.functions.last().is_none_or(|outermost| !outermost.trace.name.linkage.as_deref().is_some_and(is_mangled))
    };
    let wanted: Vec<usize> = (0..addresses.len()).filter(|index| is_wanted(&found[*index])).collect();
    if wanted.is_empty() {
        return Ok(names);
    }
    let wanted_addresses: Vec<u64> = wanted.iter().map(|index| addresses[*index]).collect();
    let of_debug = || debug.and_then(|(elf, file)| Some((elf, elf.symbols()?, *file)));
    let Some((elf, table, file)) = elf
        .symbols()
        .map(|table| (elf, table, file))
        .or_else(of_debug)
        .or_else(|| Some((elf, elf.dynamic_symbols()?, file)))
    else {
        return Ok(names);
    };
    let mut meter = Meter::new(file, deadline);
    let found = symbols::names(elf, &table, &wanted_addresses, &mut meter);
    meter.release();
    for (index, name) in wanted.into_iter().zip(found?) {
        names[index] = name;
    }
    Ok(names)
}

/// The functions of one address, innermost first.
fn functions(found: &Found, symbol: Option<&str>, intern: &mut dyn FnMut(&str) -> Arc<str>) -> Vec<Function> {
    let mut functions = Vec::with_capacity(found.functions.len().max(1));
    let mut push = |raw: Option<&str>, file: &str, line: u32, own_crate: Option<&str>| {
        let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return };
        functions.push(Function {
            name: intern(&full_name(raw, file, own_crate)),
            system_name: intern(raw),
            file: intern(file),
            line,
        });
    };
    let Some((outermost, inlined)) = found.functions.split_last() else {
        push(symbol, "", 0, None);
        return functions;
    };
    for function in inlined {
        let name = &function.trace.name;
        push(
            name.linkage.as_deref().or(name.short.as_deref()),
            &function.file,
            function.line,
            function.own_crate.as_deref(),
        );
    }
    // Debug information of line tables alone says `open` where the symbol table says `service::store::open`. (Inlined
    // functions are in no symbol table and keep the short one.)
    let (linkage, short) = (outermost.trace.name.linkage.as_deref(), outermost.trace.name.short.as_deref());
    let mangled = [linkage, symbol].into_iter().flatten().find(|name| is_mangled(name));
    let name = mangled.or(linkage).or(short).or(symbol);
    push(name, &outermost.file, outermost.line, outermost.own_crate.as_deref());
    functions
}
