//! File and line of an address: one pass over a unit's line program.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{IncompleteLineProgram, LineProgramHeader, LineRows};

use super::dwarf::{Bytes, Dwarf, OpenUnit};
use super::meter::{AROUND, Meter, Read};

/// How many rows are passed between two reports to the meter.
const CHUNK: usize = 1024;

/// About how many bytes of the program make one row.
const ROW_BYTES: usize = 4;

/// The line program of one unit, after its pass.
pub(super) struct Lines<'d> {
    rows: LineRows<Bytes<'d>, IncompleteLineProgram<Bytes<'d>>>,
    paths: HashMap<u64, Arc<str>>,
}

/// File, as an index in the unit's table, and line; 0 where the compiler names none.
pub(super) type Row = (u64, u32);

impl<'d> Lines<'d> {
    /// The row of each of `addresses`, which are sorted; `None` where no row covers it. And no program at all where the
    /// unit has none.
    pub(super) fn read(
        dwarf: &Dwarf<'d>,
        unit: &OpenUnit<'d>,
        addresses: &[u64],
        meter: &mut Meter<'_>,
    ) -> Read<(Option<Self>, Vec<Option<Row>>)> {
        let mut found: Vec<Option<Row>> = vec![None; addresses.len()];
        let Some(program) = dwarf.line_program(unit)? else { return Ok((None, found)) };
        let mut rows = program.rows();
        let mut missing = addresses.len();
        let mut before: Option<(u64, Row)> = None;
        for count in 1usize.. {
            if count.is_multiple_of(CHUNK) {
                meter.spend(CHUNK * ROW_BYTES)?;
            }
            // What was found before the damage is as good as any.
            let Ok(Some((_, row))) = rows.next_row() else { break };
            if let Some((begin, known)) = before {
                let first = addresses.partition_point(|address| *address < begin);
                for (address, found) in addresses[first..].iter().zip(&mut found[first..]) {
                    if *address >= row.address() {
                        break;
                    }
                    if found.is_none() {
                        *found = Some(known);
                        missing -= 1;
                    }
                }
                if missing == 0 {
                    break;
                }
            }
            let line = row.line().and_then(|line| u32::try_from(line.get()).ok()).unwrap_or(0);
            // Code that the linker threw away is left at zero.
            let is_code = !row.end_sequence() && row.address() != 0;
            before = is_code.then(|| (row.address(), (row.file_index(), line)));
        }
        Ok((Some(Self { rows, paths: HashMap::new() }), found))
    }

    /// The path of a file of the unit's table, absolute where the compiler told the folder; empty when unknown.
    pub(super) fn path(
        &mut self,
        index: u64,
        dwarf: &Dwarf<'d>,
        unit: &OpenUnit<'d>,
        intern: &mut dyn FnMut(&str) -> Arc<str>,
        meter: &mut Meter<'_>,
    ) -> Read<Arc<str>> {
        if let Some(known) = self.paths.get(&index) {
            return Ok(known.clone());
        }
        // Its name and that of its folder.
        meter.spend(2 * AROUND)?;
        let path = path(self.rows.header(), index, dwarf, unit).unwrap_or_default();
        let path = intern(&String::from_utf8_lossy(&path));
        self.paths.insert(index, path.clone());
        Ok(path)
    }
}

fn path<'d>(
    header: &LineProgramHeader<Bytes<'d>>,
    index: u64,
    dwarf: &Dwarf<'d>,
    unit: &OpenUnit<'d>,
) -> Option<Vec<u8>> {
    let file = header.file(index)?;
    let name = dwarf.sections.attr_string(&unit.unit, file.path_name()).ok()?;
    let folder = file.directory(header).and_then(|folder| dwarf.sections.attr_string(&unit.unit, folder).ok());
    let mut path = unit.unit.comp_dir.map(|folder| folder.slice().to_vec()).unwrap_or_default();
    for part in folder.into_iter().chain([name]) {
        join(&mut path, part.slice());
    }
    Some(path)
}

/// As `Path::join`: an absolute part replaces what is before it.
pub(super) fn join(path: &mut Vec<u8>, part: &[u8]) {
    if part.starts_with(b"/") {
        path.clear();
    } else if !path.is_empty() && !path.ends_with(b"/") && !part.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(part);
}
