//! The functions that hold an address, outermost first: one pass over a unit's entries.

use gimli::{AttributeValue, EntriesRaw};

use super::dwarf::{Bytes, Code, Dwarf, OpenUnit};
use super::meter::{Meter, Read};

/// How many functions may be inlined into one another at one address. The deepest seen are a few dozen.
const DEPTH: usize = 256;

/// How many entries are passed between two reports to the meter.
const CHUNK: usize = 256;

/// A function that holds an address, or a call of one that was inlined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// Where its entry begins in the unit.
    pub(super) entry: usize,
    depth: isize,
    /// File, as an index in the unit's table, and line of the call that was inlined; `None` for an outermost function.
    pub(super) call: Option<(Option<u64>, u32)>,
}

/// For each of `addresses`, which are sorted and lie in this unit, the functions that hold it, outermost first; none
/// where the unit names none.
pub(super) fn scopes(
    dwarf: &Dwarf<'_>,
    unit: &OpenUnit<'_>,
    addresses: &[u64],
    meter: &mut Meter<'_>,
) -> Read<Vec<Vec<Scope>>> {
    let mut chains: Vec<Vec<Scope>> = vec![Vec::new(); addresses.len()];
    let mut entries = unit.unit.header.entries_raw(&unit.unit.abbreviations, None)?;
    // The depth of the outermost function that holds one of the addresses, while inside of it.
    let mut inside: Option<isize> = None;
    // The depth of an inlined call that holds none of them, while inside of it.
    let mut outside: Option<isize> = None;
    let mut reported = 0;
    for count in 0usize.. {
        if count.is_multiple_of(CHUNK) {
            let now = entries.next_offset().0;
            meter.spend(now.saturating_sub(reported))?;
            reported = now;
        }
        if entries.is_empty() {
            break;
        }
        let (entry, depth) = (entries.next_offset().0, entries.next_depth());
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        let specs = abbreviation.attributes();
        if inside.is_some_and(|inside| depth <= inside) {
            inside = None;
            if chains.iter().all(|chain| !chain.is_empty()) {
                break;
            }
        }
        if outside.is_some_and(|outside| depth <= outside) {
            outside = None;
        }
        let is_function = match abbreviation.tag() {
            gimli::DW_TAG_subprogram => true,
            gimli::DW_TAG_inlined_subroutine if inside.is_some() && outside.is_none() => false,
            _ => {
                entries.skip_attributes(specs)?;
                continue;
            }
        };
        let has_code = specs.iter().any(|spec| matches!(spec.name(), gimli::DW_AT_low_pc | gimli::DW_AT_ranges));
        if !has_code {
            entries.skip_attributes(specs)?;
            continue;
        }
        let (code, call) = read(&mut entries, specs)?;
        let mut is_found = false;
        code.each(dwarf, &unit.unit, addresses, meter, |index| {
            let chain = &mut chains[index];
            if is_function {
                // The innermost one, where functions are nested.
                chain.clear();
                chain.push(Scope { entry, depth, call: None });
                is_found = true;
            } else if chain.len() < DEPTH && chain.last().is_some_and(|outer| outer.depth < depth) {
                chain.push(Scope { entry, depth, call: Some(call) });
                is_found = true;
            }
        })?;
        match (is_function, is_found) {
            (true, true) => inside = Some(inside.unwrap_or(depth)),
            (false, false) => outside = Some(depth),
            _ => {}
        }
    }
    Ok(chains)
}

/// Reads the attributes that say where code is and where it was called.
fn read<'d>(
    entries: &mut EntriesRaw<'_, Bytes<'d>>,
    specs: &[gimli::AttributeSpecification],
) -> Read<(Code<'d>, (Option<u64>, u32))> {
    let mut code = Code::default();
    let (mut file, mut line) = (None, 0);
    for spec in specs {
        let attribute = entries.read_attribute(*spec)?;
        let value = attribute.value();
        match (attribute.name(), value) {
            (gimli::DW_AT_call_file, AttributeValue::FileIndex(index)) => file = Some(index),
            (gimli::DW_AT_call_line, _) => line = value.udata_value().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            (at, _) => code.note(at, value),
        }
    }
    Ok((code, (file, line)))
}
