//! The debug sections of a file, and how a unit of theirs is opened. Source: DWARF 4 and 5.

use std::sync::Arc;

use allocator_api2::vec::Vec as AllocatorVec;
use flate2::{Decompress, FlushDecompress, Status};
use gimli::{
    AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugAddrBase, DebugInfoOffset, DebugLineOffset, DebugLocListsBase,
    DebugRngListsBase, DebugStrOffsetsBase, DwarfFileType, EndianSlice, NativeEndian, Section, SectionId, Unit,
    UnitHeader,
};
use object::elf;

use super::elf::Elf;
use super::meter::{AROUND, Meter, Read, Stop};
use crate::system::MmapAllocator;

/// Bytes of a debug section.
pub(super) type Bytes<'d> = EndianSlice<'d, NativeEndian>;
/// The value of an attribute.
pub(super) type Value<'d> = AttributeValue<Bytes<'d>>;

/// How many bytes of debug sections are unpacked for one file. More than that would be the very memory that there may
/// be none of.
const UNPACKED_BYTES: u64 = 8 << 20;

/// How many bytes of abbreviations a unit may have: the parsed ones take about 25 times as much. Those of a whole
/// program that was linked as one unit are a tenth of it.
const ABBREVIATION_BYTES: usize = 256 << 10;

/// How many bytes the tables of folders and files of a unit may have: the parsed ones take up to 30 times as much.
const LINE_HEADER_BYTES: u64 = 512 << 10;

/// What is read. The rest tells of variables, macros and types.
const SECTIONS: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// Sections that are compressed in the file, unpacked into memory that goes back to the kernel as one.
#[derive(Debug, Default)]
pub(super) struct Unpacked(Vec<(SectionId, AllocatorVec<u8, MmapAllocator>)>);

impl Unpacked {
    /// Unpacks what is compressed; `None` when that is too much, packed in another way than zlib's, or damaged.
    pub(super) fn of(elf: &Elf<'_>) -> Option<Self> {
        let mut packed = Vec::new();
        for id in SECTIONS {
            if let Some(section) = elf.section(id.name().as_bytes())
                && let Some((kind, size, data)) = elf.packed(section)
            {
                packed.push((id, (kind == elf::ELFCOMPRESS_ZLIB).then_some(size)?, data));
            }
        }
        let total = packed.iter().try_fold(0u64, |total, (_, size, _)| total.checked_add(*size))?;
        if total > UNPACKED_BYTES {
            return None;
        }
        let sections =
            packed.into_iter().map(|(id, size, data)| Some((id, unpack(data, usize::try_from(size).ok()?)?)));
        Some(Self(sections.collect::<Option<_>>()?))
    }
}

fn unpack(data: &[u8], size: usize) -> Option<AllocatorVec<u8, MmapAllocator>> {
    let mut unpacked = AllocatorVec::with_capacity_in(size, MmapAllocator);
    unpacked.resize(size, 0);
    let mut zlib = Decompress::new(true);
    let status = zlib.decompress(data, &mut unpacked, FlushDecompress::Finish).ok()?;
    (status == Status::StreamEnd && zlib.total_out() == size as u64).then_some(unpacked)
}

/// The debug sections of one file.
#[derive(Debug)]
pub(super) struct Dwarf<'d> {
    pub(super) sections: gimli::Dwarf<Bytes<'d>>,
}

/// A unit, opened.
#[derive(Debug)]
pub(super) struct OpenUnit<'d> {
    pub(super) unit: Unit<Bytes<'d>>,
    /// Where its line program begins.
    pub(super) lines: Option<DebugLineOffset>,
    /// Where its code is.
    pub(super) code: Code<'d>,
}

impl<'d> Dwarf<'d> {
    /// The sections of `elf`, those in `unpacked` from there.
    pub(super) fn of(elf: &Elf<'d>, unpacked: &'d Unpacked) -> Self {
        let load = |id: SectionId| -> Result<Bytes<'d>, Stop> {
            let unpacked = unpacked.0.iter().find(|(known, _)| *known == id).map(|(_, bytes)| &bytes[..]);
            let is_read = SECTIONS.contains(&id);
            let data = unpacked
                .or_else(|| elf.data_of(elf.section(id.name().as_bytes()).filter(|_| is_read)?))
                .unwrap_or_default();
            Ok(EndianSlice::new(data, NativeEndian))
        };
        Self { sections: gimli::Dwarf::load(load).unwrap_or_default() }
    }

    /// The header of the unit that begins at `start` in `.debug_info`.
    pub(super) fn header(&self, start: usize) -> Read<UnitHeader<Bytes<'d>>> {
        Ok(self.sections.debug_info.header_from_offset(DebugInfoOffset(start))?)
    }

    /// Opens a unit, without its line program.
    pub(super) fn open(&self, header: UnitHeader<Bytes<'d>>, meter: &mut Meter<'_>) -> Read<OpenUnit<'d>> {
        // Header, abbreviations, and two strings of the root.
        meter.spend(4 * AROUND)?;
        let encoding = header.encoding();
        if encoding.address_size != 8 {
            return Err(Stop::Damaged);
        }
        let mut unit = Unit {
            abbreviations: Arc::new(self.abbreviations(header.debug_abbrev_offset())?),
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, DwarfFileType::Main),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, DwarfFileType::Main),
            rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, DwarfFileType::Main),
            line_program: None,
            dwo_id: None,
            header,
        };
        let (mut name, mut folder, mut lines, mut code) = (None, None, None, Code::default());
        {
            let mut entries = unit.header.entries_raw(&unit.abbreviations, None)?;
            let root = entries.read_abbreviation()?.ok_or(Stop::Damaged)?;
            for spec in root.attributes() {
                let attribute = entries.read_attribute(*spec)?;
                let value = attribute.value();
                match (attribute.name(), value) {
                    (gimli::DW_AT_name, _) => name = Some(value),
                    (gimli::DW_AT_comp_dir, _) => folder = Some(value),
                    (gimli::DW_AT_stmt_list, AttributeValue::DebugLineRef(offset)) => lines = Some(offset),
                    (_, AttributeValue::DebugStrOffsetsBase(base)) => unit.str_offsets_base = base,
                    (_, AttributeValue::DebugAddrBase(base)) => unit.addr_base = base,
                    (_, AttributeValue::DebugRngListsBase(base)) => unit.rnglists_base = base,
                    (at, _) => code.note(at, value),
                }
            }
        }
        // What cannot be read of these is missing, and the rest is as good.
        unit.name = name.and_then(|name| self.sections.attr_string(&unit, name).ok());
        unit.comp_dir = folder.and_then(|folder| self.sections.attr_string(&unit, folder).ok());
        if let Some(low) = code.low {
            unit.low_pc = self.sections.attr_address(&unit, low)?.unwrap_or(0);
        }
        Ok(OpenUnit { unit, lines, code })
    }

    /// The line program of `unit`, when it has one.
    pub(super) fn line_program(&self, unit: &OpenUnit<'d>) -> Read<Option<gimli::IncompleteLineProgram<Bytes<'d>>>> {
        let Some(offset) = unit.lines else { return Ok(None) };
        let header = line_header_bytes(self.sections.debug_line.reader().slice(), offset.0).ok_or(Stop::Damaged)?;
        if header > LINE_HEADER_BYTES {
            return Err(Stop::Damaged);
        }
        let Unit { comp_dir, name, .. } = unit.unit;
        Ok(Some(self.sections.debug_line.program(offset, 8, comp_dir, name)?))
    }

    /// Only as much is shown to the parser as it may take.
    fn abbreviations(&self, offset: DebugAbbrevOffset) -> Read<gimli::Abbreviations> {
        let all = self.sections.debug_abbrev.reader().slice();
        let rest = all.get(offset.0..).ok_or(Stop::Damaged)?;
        let window = &rest[..rest.len().min(ABBREVIATION_BYTES)];
        Ok(DebugAbbrev::new(window, NativeEndian).abbreviations(DebugAbbrevOffset(0))?)
    }
}

/// What the header of the line program at `offset` says of its own length.
/// Source: DWARF 5, 6.2.4: unit_length, version, from 5 on address and segment selector size, header_length.
fn line_header_bytes(section: &[u8], offset: usize) -> Option<u64> {
    let header = section.get(offset..)?;
    let word = |at: usize| Some(u32::from_ne_bytes(*header.get(at..)?.first_chunk()?));
    let is_64 = word(0)? == u32::MAX;
    let at = if is_64 { 12 } else { 4 };
    let version = u16::from_ne_bytes(*header.get(at..)?.first_chunk()?);
    let at = if version >= 5 { at + 4 } else { at + 2 };
    match is_64 {
        true => Some(u64::from_ne_bytes(*header.get(at..)?.first_chunk()?)),
        false => word(at).map(u64::from),
    }
}

/// Where the code of a unit, function or inlined call is, as its attributes say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Code<'d> {
    low: Option<Value<'d>>,
    high: Option<Value<'d>>,
    ranges: Option<Value<'d>>,
}

impl<'d> Code<'d> {
    /// Takes an attribute that is one of code's, and ignores any other.
    pub(super) fn note(&mut self, at: gimli::DwAt, value: Value<'d>) {
        match at {
            gimli::DW_AT_low_pc => self.low = Some(value),
            gimli::DW_AT_high_pc => self.high = Some(value),
            gimli::DW_AT_ranges => self.ranges = Some(value),
            _ => {}
        }
    }

    /// Calls `found` with the index of each of `addresses`, which are sorted, that lies in this code.
    pub(super) fn each(
        &self,
        dwarf: &Dwarf<'d>,
        unit: &Unit<Bytes<'d>>,
        addresses: &[u64],
        meter: &mut Meter<'_>,
        mut found: impl FnMut(usize),
    ) -> Read<()> {
        let mut within = |begin: u64, end: u64| {
            // Code that the linker threw away is left at zero.
            if begin == 0 {
                return;
            }
            let first = addresses.partition_point(|address| *address < begin);
            (first..addresses.len()).take_while(|index| addresses[*index] < end).for_each(&mut found);
        };
        let sections = &dwarf.sections;
        if let Some(offset) = self.ranges.map(|ranges| sections.attr_ranges_offset(unit, ranges)).transpose()?.flatten()
        {
            meter.spend(AROUND)?;
            let mut ranges = sections.ranges(unit, offset)?;
            while let Some(range) = ranges.next()? {
                meter.spend(size_of::<gimli::Range>())?;
                within(range.begin, range.end);
            }
            return Ok(());
        }
        let Some(low) = self.low.map(|low| sections.attr_address(unit, low)).transpose()?.flatten() else {
            return Ok(());
        };
        let high = match self.high {
            Some(AttributeValue::Udata(size)) => low.saturating_add(size),
            Some(high) => sections.attr_address(unit, high)?.unwrap_or(low),
            None => low,
        };
        within(low, high);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_abbreviations_are_parsed_than_a_unit_may_have() {
        for (count, is_read) in [(20_000u32, true), (80_000, false)] {
            let mut section = Vec::new();
            for code in 1..=count {
                // A code of three bytes; tag; no children; no attributes.
                section.extend([(code & 0x7f) as u8 | 0x80, (code >> 7 & 0x7f) as u8 | 0x80, (code >> 14) as u8]);
                section.extend([gimli::DW_TAG_subprogram.0 as u8, 0, 0, 0]);
            }
            section.push(0);
            let debug_abbrev = DebugAbbrev::new(&section, NativeEndian);
            let dwarf = Dwarf { sections: gimli::Dwarf { debug_abbrev, ..Default::default() } };
            assert_eq!(dwarf.abbreviations(DebugAbbrevOffset(0)).is_ok(), is_read, "{count}");
        }
    }

    #[test]
    fn a_line_header_tells_its_length_in_every_form() {
        let of = |parts: &[&[u8]]| line_header_bytes(&parts.concat(), 1);
        let length = 0x0102_0304_0506_0708u64.to_ne_bytes();
        let short = 77u32.to_ne_bytes();
        let version = |version: u16| version.to_ne_bytes();
        let (start, unit, long) = (&[9][..], &[1, 0, 0, 0][..], &[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0][..]);
        assert_eq!(of(&[start, unit, &version(4), &short]), Some(77));
        assert_eq!(of(&[start, unit, &version(5), &[8, 0], &short]), Some(77));
        assert_eq!(of(&[start, long, &version(4), &length]), Some(0x0102_0304_0506_0708));
        assert_eq!(of(&[start, long, &version(5), &[8, 0], &length]), Some(0x0102_0304_0506_0708));
        assert_eq!(of(&[start, unit, &version(5), &[8, 0], &short[..3]]), None);
        assert_eq!(line_header_bytes(&[], 7), None);
    }
}
