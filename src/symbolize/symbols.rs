//! Names from a symbol table, in one pass that keeps no index.

use std::sync::Arc;

use object::elf::{self, Sym64};
use object::read::elf::{SectionHeader, Sym};
use object::{NativeEndian, SectionIndex};

use super::elf::{ENDIAN, Elf, Symbols};
use super::meter::{Meter, Read};

type Symbol = Sym64<NativeEndian>;

/// How many symbols are looked at between two reports to the meter.
const CHUNK: usize = 1024;

/// The best symbol for an address so far.
#[derive(Clone, Copy)]
struct Candidate<'d> {
    symbol: &'d Symbol,
    /// The larger, the better.
    rank: (u64, bool, u8),
}

/// The name of the function at each of `addresses`, which are sorted and are those that `elf` itself gives. A symbol
/// that has a size covers that much; one without reaches to the next symbol or the end of its section.
///
/// Of several the one that begins last is taken, then a function before a bare label, then a global one before a weak
/// one before a local one, then the first.
pub(super) fn names<'d>(
    elf: &Elf<'d>,
    table: &Symbols<'d>,
    addresses: &[u64],
    meter: &mut Meter<'_>,
) -> Read<Vec<Option<Arc<str>>>> {
    let mut sized: Vec<Option<Candidate<'d>>> = vec![None; addresses.len()];
    // For those addresses from the index on, up to the next one that has something: the nearest symbol before.
    let mut nearest: Vec<Option<Candidate<'d>>> = vec![None; addresses.len()];
    for chunk in table.symbols().chunks(CHUNK) {
        meter.spend(size_of_val(chunk))?;
        for symbol in chunk {
            let kind = symbol.st_type();
            let is_function = kind == elf::STT_FUNC || kind == elf::STT_GNU_IFUNC;
            let section = symbol.st_shndx(ENDIAN);
            if !(is_function || kind == elf::STT_NOTYPE) || section.0 == 0 || symbol.st_name(ENDIAN) == 0 {
                continue;
            }
            let start = symbol.st_value(ENDIAN);
            let first = addresses.partition_point(|address| *address < start);
            if first == addresses.len() {
                continue;
            }
            let binding = match symbol.st_bind() {
                elf::STB_GLOBAL => 2,
                elf::STB_WEAK => 1,
                _ => 0,
            };
            let candidate = Some(Candidate { symbol, rank: (start, is_function, binding) });
            keep_better(&mut nearest[first], candidate);
            let end = start.saturating_add(symbol.st_size(ENDIAN));
            for (address, best) in addresses[first..].iter().zip(&mut sized[first..]) {
                if *address >= end {
                    break;
                }
                keep_better(best, candidate);
            }
        }
    }
    let mut before: Option<Candidate<'d>> = None;
    let mut names = Vec::with_capacity(addresses.len());
    for ((address, sized), nearest) in addresses.iter().zip(sized).zip(nearest) {
        keep_better(&mut before, nearest);
        let unsized_one = before.filter(|candidate| reaches(elf, candidate.symbol, *address));
        names.push(match sized.or(unsized_one) {
            Some(candidate) => {
                meter.spend(super::meter::AROUND)?;
                let name = table.strings().get(candidate.symbol.st_name(ENDIAN)).ok();
                name.filter(|name| !name.is_empty()).map(|name| Arc::from(String::from_utf8_lossy(name)))
            }
            None => None,
        });
    }
    Ok(names)
}

fn keep_better<'d>(best: &mut Option<Candidate<'d>>, candidate: Option<Candidate<'d>>) {
    if let Some(new) = candidate
        && best.is_none_or(|old| new.rank > old.rank)
    {
        *best = candidate;
    }
}

/// Whether `symbol` has no size and its section is code that holds `address`.
fn reaches(elf: &Elf<'_>, symbol: &Symbol, address: u64) -> bool {
    let Ok(section) = elf.sections.section(SectionIndex(usize::from(symbol.st_shndx(ENDIAN).0))) else {
        return false;
    };
    symbol.st_size(ENDIAN) == 0
        && section.sh_flags(ENDIAN).contains(elf::SHF_EXECINSTR)
        && address.checked_sub(section.sh_addr(ENDIAN)).is_some_and(|offset| offset < section.sh_size(ENDIAN))
}
