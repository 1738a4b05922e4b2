//! Looking names up with blazesym. Its symbolizer is dropped after each use, with its mapped files and its indexes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use blazesym::Pid;
use blazesym::symbolize::source::{Process, Source};
use blazesym::symbolize::{CodeInfo, Input, Reason, Sym, Symbolized, Symbolizer};

use crate::profile::{Address, Frame, Function, Mapping, Unknown};

/// A frame for each of `addresses`, in their order.
pub(super) fn resolve(
    addresses: &[Address],
    mappings: &[Mapping],
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Vec<Frame> {
    // Raw names: viewers take a name that equals its system name for one that they must demangle, and spoil it.
    let symbolizer = Symbolizer::builder().enable_inlined_fns(true).enable_demangling(false).build();
    let symbols = match look_up(&symbolizer, addresses, true) {
        Ok(symbols) => symbols,
        Err(error) => {
            tracing::warn!("heapward: names could not be looked up: {error:#}");
            return vec![Frame::Unknown(Unknown::Unreadable); addresses.len()];
        }
    };
    let mut full_names = full_names(&symbolizer, addresses, &symbols);
    addresses
        .iter()
        .zip(&symbols)
        .map(|(&address, symbol)| match symbol {
            Symbolized::Sym(symbol) => {
                let name = full_names.remove(&address).unwrap_or_else(|| symbol.name.to_string());
                Frame::Known(functions(&name, symbol, intern))
            }
            Symbolized::Unknown(reason) => Frame::Unknown(unknown(*reason, address, mappings)),
        })
        .collect()
}

fn look_up<'s>(
    symbolizer: &'s Symbolizer,
    addresses: &[Address],
    debug_syms: bool,
) -> Result<Vec<Symbolized<'s>>, blazesym::Error> {
    let raw: Vec<u64> = addresses.iter().map(|address| address.0).collect();
    let mut process = Process::new(Pid::Slf);
    // Links in `map_files` can be read by privileged processes alone, and not at all in most containers.
    process.map_files = false;
    process.perf_map = false;
    process.debug_syms = debug_syms;
    symbolizer.symbolize(&Source::Process(process), Input::AbsAddr(&raw))
}

/// Debug information of line tables alone says `open` where the symbol table says `service::store::open`: the full
/// names of the functions that this is true of. (Inlined functions are in no symbol table and keep the short one.)
fn full_names(symbolizer: &Symbolizer, addresses: &[Address], symbols: &[Symbolized<'_>]) -> HashMap<Address, String> {
    let short: Vec<Address> = addresses
        .iter()
        .zip(symbols)
        .filter(|(_, symbol)| {
            symbol.as_sym().is_some_and(|symbol| symbol.code_info.is_some() && !is_mangled(&symbol.name))
        })
        .map(|(&address, _)| address)
        .collect();
    if short.is_empty() {
        return HashMap::new();
    }
    // A failure leaves the short names, which are not wrong.
    let full = look_up(symbolizer, &short, false).unwrap_or_default();
    let name = |symbol: &Symbolized<'_>| symbol.as_sym().map(|symbol| symbol.name.to_string());
    short.into_iter().zip(&full).filter_map(|(address, symbol)| Some((address, name(symbol)?))).collect()
}

fn unknown(reason: Reason, address: Address, mappings: &[Mapping]) -> Unknown {
    match reason {
        Reason::Unmapped => Unknown::NoMapping,
        _ if Mapping::find(mappings, address).is_none() => Unknown::NoMapping,
        Reason::UnknownAddr | Reason::MissingSyms => Unknown::NoSymbol,
        _ => Unknown::Unreadable,
    }
}

/// blazesym tells the outermost function first; profile.proto wants the innermost first.
fn functions(name: &str, symbol: &Sym<'_>, intern: &mut dyn FnMut(&str) -> Arc<str>) -> Arc<[Function]> {
    let outer = (name, symbol.code_info.as_deref());
    let inlined = symbol.inlined.iter().map(|inlined| (inlined.name.as_ref(), inlined.code_info.as_ref()));
    let mut functions: Vec<Function> = std::iter::once(outer)
        .chain(inlined)
        .map(|(raw, code)| {
            let file = code.map(path).unwrap_or_default();
            Function {
                name: intern(&qualified(demangled(raw), &file)),
                system_name: intern(raw),
                file: intern(&file),
                line: code.and_then(|code| code.line).unwrap_or(0),
            }
        })
        .collect();
    functions.reverse();
    functions.into()
}

/// A Rust name without its hash; any other as it is, for the viewer to demangle.
fn demangled(raw: &str) -> String {
    match rustc_demangle::try_demangle(raw) {
        Ok(name) => format!("{name:#}"),
        Err(_) => raw.to_owned(),
    }
}

/// The short name of an inlined function with the path of its module, as far as its file tells: `push<u8>` in
/// `…/library/alloc/src/vec/mod.rs` is `alloc::vec::push<u8>`. Without it, viewers could neither hide the function nor tell it
/// from the service's own `push`. Of a service's own files only their folders are known, and not the crate.
fn qualified(name: String, file: &str) -> String {
    // `push<u8, alloc::alloc::Global>` is a short name too.
    let has_path = name.starts_with('<') || name.split('<').next().is_some_and(|path| path.contains("::"));
    match module(file) {
        Some(module) if !has_path => format!("{module}::{name}"),
        _ => name,
    }
}

/// The module that a file of the language's library, or of a crate from a registry, is by custom.
fn module(file: &str) -> Option<String> {
    let (folder, inside) = file.strip_suffix(".rs")?.rsplit_once("/src/")?;
    let (parent, package) = folder.rsplit_once('/')?;
    let name = if parent.ends_with("/library") {
        package
    } else {
        // `hashbrown-0.17.0`
        let (name, version) = package.rsplit_once('-')?;
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(name)?
    };
    let mut module = name.replace('-', "_");
    let folders = inside.strip_suffix("/mod").unwrap_or(inside);
    if !["lib", "mod"].contains(&folders) {
        module.push_str("::");
        module.push_str(&folders.replace('/', "::"));
    }
    Some(module)
}

fn is_mangled(name: &str) -> bool {
    name.starts_with("_R") || name.starts_with("_Z")
}

fn path(code: &CodeInfo<'_>) -> String {
    let file = Path::new(&code.file);
    let path = match &code.dir {
        Some(dir) => dir.join(file),
        None => file.to_owned(),
    };
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, file: &str, expect: &str) {
        assert_eq!(qualified(name.to_owned(), file), expect);
    }

    #[test]
    fn a_short_name_gets_the_module_of_its_file() {
        let std = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
        check(
            "push<u8, alloc::alloc::Global>",
            &format!("{std}/alloc/src/vec/mod.rs"),
            "alloc::vec::push<u8, alloc::alloc::Global>",
        );
        check("alloc", &format!("{std}/alloc/src/alloc.rs"), "alloc::alloc::alloc");
        check("{closure#0}", &format!("{std}/core/src/lib.rs"), "core::{closure#0}");
        let registry = "/home/user/.cargo/registry/src/index-0123456789abcdef";
        check("insert<K, V>", &format!("{registry}/hashbrown-0.17.0/src/map.rs"), "hashbrown::map::insert<K, V>");
        check("alloc", &format!("{registry}/tikv-jemallocator-0.7.0/src/lib.rs"), "tikv_jemallocator::alloc");
        check("insert<K, V>", "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs", "hashbrown::raw::insert<K, V>");
    }

    #[test]
    fn any_other_name_stays() {
        for (name, file) in [
            ("open_session", "/srv/service/src/session.rs"),
            ("open_session", "/srv/my-service/src/session.rs"),
            ("open_session", ""),
            ("alloc::vec::Vec<T,A>::push", "/rustc/0/library/alloc/src/vec/mod.rs"),
            ("<[T]>::to_vec", "/rustc/0/library/alloc/src/slice.rs"),
            ("imalloc", "/build/tikv-jemalloc-sys-0.7.1/src/jemalloc.c"),
        ] {
            check(name, file, name);
        }
    }
}
