//! The name of a function's entry: its own, or that of the entry that it stands for, in its unit or in another.

use std::sync::Arc;

use gimli::{AttributeValue, UnitOffset};

use super::dwarf::{Dwarf, OpenUnit};
use super::meter::{AROUND, Meter, Read, Stop};
use super::units::Units;

/// How many entries a name is followed through. Compilers make chains of three: inlined call, abstract function,
/// declaration.
const HOPS: usize = 16;

/// What the debug information calls a function.
///
/// Copies: to look at the names again after the file's pages were released would bring them back, each with its
/// neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// As the linker knows it.
    pub(super) linkage: Option<Arc<str>>,
    /// As its source has it, without what it is in; may be missing where there is the other.
    pub(super) short: Option<Arc<str>>,
}

/// A name that may go on in another unit.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) name: Name,
    /// Where in `.debug_info` it goes on.
    pub(super) next: Option<usize>,
    hops: usize,
}

impl Trace {
    /// The name of the entry at `entry` in `unit`, as far as that goes in this unit.
    pub(super) fn begin(dwarf: &Dwarf<'_>, unit: &OpenUnit<'_>, entry: usize, meter: &mut Meter<'_>) -> Read<Self> {
        let mut trace = Self::default();
        trace.go_on(dwarf, unit, entry, meter)?;
        Ok(trace)
    }

    /// Follows the entries from the one at `entry` on, while they are in `unit`.
    fn go_on(&mut self, dwarf: &Dwarf<'_>, unit: &OpenUnit<'_>, mut entry: usize, meter: &mut Meter<'_>) -> Read<()> {
        let unit = &unit.unit;
        self.next = None;
        while self.hops < HOPS {
            self.hops += 1;
            // The entry and its two strings.
            meter.spend(3 * AROUND)?;
            let mut entries = unit.header.entries_raw(&unit.abbreviations, Some(UnitOffset(entry)))?;
            let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(()) };
            let mut origin = None;
            for spec in abbreviation.attributes() {
                let attribute = entries.read_attribute(*spec)?;
                let value = attribute.value();
                let text = || Some(Arc::from(dwarf.sections.attr_string(unit, value).ok()?.to_string_lossy()));
                match attribute.name() {
                    gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => self.name.linkage = text(),
                    gimli::DW_AT_name if self.name.short.is_none() && self.name.linkage.is_none() => {
                        self.name.short = text()
                    }
                    gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => origin = Some(value),
                    _ => {}
                }
            }
            if self.name.linkage.is_some() {
                return Ok(());
            }
            match origin {
                Some(AttributeValue::UnitRef(offset)) => entry = offset.0,
                Some(AttributeValue::DebugInfoRef(offset)) => {
                    self.next = Some(offset.0);
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Ends all of `traces` that go on in other units, unit by unit.
pub(super) fn finish<'d>(
    traces: &mut [&mut Trace],
    dwarf: &Dwarf<'d>,
    units: &Units,
    meter: &mut Meter<'_>,
) -> Read<()> {
    // Each round takes every open trace at least one entry further.
    for _ in 0..HOPS {
        traces.sort_unstable_by_key(|trace| trace.next);
        let mut open: Option<(usize, OpenUnit<'d>)> = None;
        let mut is_done = true;
        for trace in traces.iter_mut() {
            let Some(offset) = trace.next.take() else { continue };
            is_done = false;
            match step(trace, offset, &mut open, dwarf, units, meter) {
                Ok(()) | Err(Stop::Damaged) => {}
                Err(late) => return Err(late),
            }
        }
        if is_done {
            break;
        }
    }
    Ok(())
}

/// Takes `trace` through the unit that `offset` is in; `open` is the unit that was used last.
fn step<'d>(
    trace: &mut Trace,
    offset: usize,
    open: &mut Option<(usize, OpenUnit<'d>)>,
    dwarf: &Dwarf<'d>,
    units: &Units,
    meter: &mut Meter<'_>,
) -> Read<()> {
    let start = units.start_of(dwarf, offset, meter)?;
    if open.as_ref().is_none_or(|(known, _)| *known != start) {
        *open = Some((start, dwarf.open(dwarf.header(start)?, meter)?));
    }
    match open {
        Some((start, unit)) => trace.go_on(dwarf, unit, offset - *start, meter),
        None => Ok(()),
    }
}
