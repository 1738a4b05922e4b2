//! What the debug information of one file says about addresses.

use std::sync::Arc;

use super::dwarf::{Dwarf, OpenUnit};
use super::functions::{self, Scope};
use super::lines::{Lines, Row};
use super::meter::{Meter, Read, Stop};
use super::names::OwnCrate;
use super::origins::{self, Trace};
use super::units::Units;

/// A function at an address.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) trace: Trace,
    /// Empty when unknown.
    pub(super) file: Arc<str>,
    /// 0 when unknown.
    pub(super) line: u32,
    /// The crate that the function surely belongs to.
    pub(super) own_crate: Option<Arc<str>>,
}

/// What is known about one address.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Innermost first. The outermost may have no name.
    pub(super) functions: Vec<Described>,
    /// Whether there was time to look.
    pub(super) is_complete: bool,
}

/// What is known about each of `addresses`, which are sorted and those that the file itself gives; and whether time
/// ran out.
pub(super) fn find<'d>(
    dwarf: &Dwarf<'d>,
    addresses: &[u64],
    meter: &mut Meter<'_>,
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> (Vec<Found>, bool) {
    let mut found = vec![Found::default(); addresses.len()];
    let is_late = fill(&mut found, dwarf, addresses, meter, intern) == Err(Stop::Late);
    (found, is_late)
}

fn fill<'d>(
    found: &mut [Found],
    dwarf: &Dwarf<'d>,
    addresses: &[u64],
    meter: &mut Meter<'_>,
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Read<()> {
    let (units, owners) = Units::find(dwarf, addresses, meter)?;
    meter.release();
    let mut owned: Vec<(usize, usize)> =
        owners.into_iter().enumerate().filter_map(|(index, start)| Some((start?, index))).collect();
    owned.sort_unstable();
    let read = owned.chunk_by(|a, b| a.0 == b.0).try_for_each(|group| {
        let indices: Vec<usize> = group.iter().map(|(_, index)| *index).collect();
        let inside: Vec<u64> = indices.iter().map(|index| addresses[*index]).collect();
        let described = match describe(dwarf, group[0].0, &inside, meter, intern) {
            Ok(described) => described,
            Err(Stop::Damaged) => vec![Vec::new(); indices.len()],
            Err(late) => return Err(late),
        };
        meter.release();
        for (index, functions) in indices.into_iter().zip(described) {
            found[index] = Found { functions, is_complete: true };
        }
        Ok(())
    });
    let mut open: Vec<&mut Trace> = found
        .iter_mut()
        .flat_map(|found| &mut found.functions)
        .map(|function| &mut function.trace)
        .filter(|trace| trace.next.is_some())
        .collect();
    read.and(origins::finish(&mut open, dwarf, &units, meter))
}

/// The functions at each of `addresses`, which are sorted and lie in the unit that begins at `start`.
fn describe<'d>(
    dwarf: &Dwarf<'d>,
    start: usize,
    addresses: &[u64],
    meter: &mut Meter<'_>,
    intern: &mut dyn FnMut(&str) -> Arc<str>,
) -> Read<Vec<Vec<Described>>> {
    let unit = dwarf.open(dwarf.header(start)?, meter)?;
    let or_none = |read: Read<Vec<Vec<Scope>>>| match read {
        Err(Stop::Damaged) => Ok(vec![Vec::new(); addresses.len()]),
        other => other,
    };
    let scopes = or_none(functions::scopes(dwarf, &unit, addresses, meter))?;
    let (lines, rows) = match Lines::read(dwarf, &unit, addresses, meter) {
        Err(Stop::Damaged) => (None, vec![None; addresses.len()]),
        other => other?,
    };
    let own_crate = OwnCrate::of(unit.unit.name.map(|name| name.slice()), unit.unit.comp_dir.map(|dir| dir.slice()));
    let mut writer = Writer { dwarf, unit, lines, own_crate, empty: intern("") };
    scopes.iter().zip(rows).map(|(scopes, row)| writer.functions(scopes, row, meter, intern)).collect()
}

/// Puts the functions of one unit together.
struct Writer<'a, 'd> {
    dwarf: &'a Dwarf<'d>,
    unit: OpenUnit<'d>,
    lines: Option<Lines<'d>>,
    own_crate: Option<OwnCrate>,
    empty: Arc<str>,
}

impl<'d> Writer<'_, 'd> {
    fn functions(
        &mut self,
        scopes: &[Scope],
        row: Option<Row>,
        meter: &mut Meter<'_>,
        intern: &mut dyn FnMut(&str) -> Arc<str>,
    ) -> Read<Vec<Described>> {
        // Where execution is: in the innermost one the row says it, in each other one the call of the next.
        let mut place = row.map(|(file, line)| (Some(file), line));
        let mut functions = Vec::with_capacity(scopes.len().max(1));
        for scope in scopes.iter().rev() {
            let trace = match Trace::begin(self.dwarf, &self.unit, scope.entry, meter) {
                Err(Stop::Damaged) => Trace::default(),
                other => other?,
            };
            functions.push(self.described(trace, place, meter, intern)?);
            place = scope.call;
        }
        if functions.is_empty() && row.is_some() {
            functions.push(self.described(Trace::default(), place, meter, intern)?);
        }
        Ok(functions)
    }

    fn described(
        &mut self,
        trace: Trace,
        place: Option<(Option<u64>, u32)>,
        meter: &mut Meter<'_>,
        intern: &mut dyn FnMut(&str) -> Arc<str>,
    ) -> Read<Described> {
        let (index, line) = place.unwrap_or_default();
        let file = match (index, &mut self.lines) {
            (Some(index), Some(lines)) => lines.path(index, self.dwarf, &self.unit, intern, meter)?,
            _ => self.empty.clone(),
        };
        let own_crate = self.own_crate.as_ref().and_then(|own| own.of_file(&file));
        Ok(Described { trace, file, line, own_crate })
    }
}
