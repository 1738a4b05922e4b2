//! Which unit of the debug information holds an address.

use gimli::UnitType;

use super::dwarf::Dwarf;
use super::meter::{AROUND, Meter, Read, Stop};

/// The units of one file, as far as they had to be looked at.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// Where units begin in `.debug_info`, sorted: not all of them, but none between a unit that was walked over and
    /// the next one.
    starts: Vec<usize>,
}

impl Units {
    /// The start of the unit that holds each of `addresses`, which are sorted; `None` where no unit says so.
    ///
    /// `.debug_aranges` tells it for most at once. Compilers need not write it: what it does not tell is looked for in
    /// the units that it does not name.
    pub(super) fn find(
        dwarf: &Dwarf<'_>,
        addresses: &[u64],
        meter: &mut Meter<'_>,
    ) -> Read<(Self, Vec<Option<usize>>)> {
        let mut units = Self::default();
        let mut owners = vec![None; addresses.len()];
        match units.read_aranges(dwarf, addresses, &mut owners, meter) {
            // What was read before the damage is as good as any.
            Ok(()) | Err(Stop::Damaged) => {}
            Err(late) => return Err(late),
        }
        units.starts.sort_unstable();
        units.starts.dedup();
        if owners.contains(&None) {
            match units.walk(dwarf, addresses, &mut owners, meter) {
                Ok(()) | Err(Stop::Damaged) => {}
                Err(late) => return Err(late),
            }
        }
        Ok((units, owners))
    }

    fn read_aranges(
        &mut self,
        dwarf: &Dwarf<'_>,
        addresses: &[u64],
        owners: &mut [Option<usize>],
        meter: &mut Meter<'_>,
    ) -> Read<()> {
        let (Some(&lowest), Some(&highest)) = (addresses.first(), addresses.last()) else { return Ok(()) };
        let mut sets = dwarf.sections.debug_aranges.headers();
        while let Some(set) = sets.next()? {
            meter.spend(set.length())?;
            let start = set.debug_info_offset().0;
            let mut entries = set.entries();
            while let Some(entry) = entries.next()? {
                let range = entry.range();
                // Code that the linker threw away is left at zero.
                if range.begin == 0 || range.begin > highest || range.end <= lowest {
                    continue;
                }
                let first = addresses.partition_point(|address| *address < range.begin);
                for (address, owner) in addresses[first..].iter().zip(&mut owners[first..]) {
                    if *address >= range.end {
                        break;
                    }
                    owner.get_or_insert(start);
                }
            }
            self.starts.push(start);
        }
        Ok(())
    }

    /// Looks at all units that `starts` does not have yet, and adds them.
    fn walk(
        &mut self,
        dwarf: &Dwarf<'_>,
        addresses: &[u64],
        owners: &mut [Option<usize>],
        meter: &mut Meter<'_>,
    ) -> Read<()> {
        let named = self.starts.len();
        let mut headers = dwarf.sections.debug_info.units();
        while let Some(header) = headers.next()? {
            meter.spend(AROUND.min(header.length_including_self()))?;
            let Some(start) = header.debug_info_offset().map(|offset| offset.0) else { continue };
            if self.starts[..named].binary_search(&start).is_ok() {
                continue;
            }
            self.starts.push(start);
            if header.type_() != UnitType::Compilation {
                continue;
            }
            let mut claim = |index: usize| {
                owners[index].get_or_insert(start);
            };
            let read = dwarf
                .open(header, meter)
                .and_then(|unit| unit.code.each(dwarf, &unit.unit, addresses, meter, &mut claim));
            match read {
                Ok(()) | Err(Stop::Damaged) => {}
                Err(late) => return Err(late),
            }
        }
        self.starts.sort_unstable();
        Ok(())
    }

    /// The start of the unit that `offset` in `.debug_info` is in.
    pub(super) fn start_of(&self, dwarf: &Dwarf<'_>, offset: usize, meter: &mut Meter<'_>) -> Read<usize> {
        let before = self.starts.partition_point(|start| *start <= offset);
        let mut start = before.checked_sub(1).map_or(0, |index| self.starts[index]);
        loop {
            let length = dwarf.header(start)?.length_including_self();
            meter.spend(AROUND.min(length))?;
            let end = start.checked_add(length).ok_or(Stop::Damaged)?;
            if offset < end {
                return Ok(start);
            }
            start = end;
        }
    }
}
