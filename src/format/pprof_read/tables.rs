//! All of a profile but its samples, as the file has it: with ids and numbers of strings.

use std::sync::Arc;

use super::ids::Ids;
use super::left_out::LeftOut;
use super::wire::{Field, Wire, malformed};
use crate::error::Result;
use crate::format::read::{Budget, MAX_DEPTH, MAX_SAMPLE_TYPES};

/// Field numbers of `Profile`.
pub(super) const SAMPLE: u64 = 2;
const SAMPLE_TYPE: u64 = 1;
const MAPPING: u64 = 3;
const LOCATION: u64 = 4;
const FUNCTION: u64 = 5;
const STRING_TABLE: u64 = 6;

/// Field numbers of `Sample`.
pub(super) const LOCATION_ID: u64 = 1;
pub(super) const VALUE: u64 = 2;
pub(super) const LABEL: u64 = 3;

/// What allocators and `Arc` add to one string.
const STRING_OVERHEAD: usize = 32;

/// The number of a string, and where the field stands that names it.
#[derive(Clone, Copy, Default)]
pub(super) struct StringAt {
    pub at: u64,
    pub number: i64,
}

/// A type with its unit, as numbers of strings.
#[derive(Clone, Copy, Default)]
pub(super) struct ValueType {
    pub at: u64,
    pub name: i64,
    pub unit: i64,
}

#[derive(Clone, Copy, Default)]
pub(super) struct RawMapping {
    pub at: u64,
    pub start: u64,
    pub limit: u64,
    pub file_offset: u64,
    pub file: i64,
    pub build_id: i64,
}

#[derive(Clone, Copy, Default)]
pub(super) struct RawLocation {
    pub at: u64,
    pub mapping_id: u64,
    pub address: u64,
    /// How many of [`Tables::lines`], after those of the locations before.
    pub lines: u32,
}

#[derive(Clone, Copy, Default)]
pub(super) struct RawLine {
    pub function_id: u64,
    pub line: u32,
}

#[derive(Clone, Copy, Default)]
pub(super) struct RawFunction {
    pub at: u64,
    pub name: i64,
    pub system_name: i64,
    pub file: i64,
}

/// What a first pass over the content gathers.
pub(super) struct Tables {
    pub strings: Vec<Arc<str>>,
    pub sample_types: Vec<ValueType>,
    pub mapping_ids: Ids,
    pub mappings: Vec<RawMapping>,
    pub location_ids: Ids,
    pub locations: Vec<RawLocation>,
    pub lines: Vec<RawLine>,
    pub function_ids: Ids,
    pub functions: Vec<RawFunction>,
    /// Samples in the content.
    pub samples: usize,
    /// Frames of all samples.
    pub frames: usize,
    pub keep_frames: StringAt,
    pub time_nanos: i64,
    pub duration_nanos: i64,
    pub period_type: Option<ValueType>,
    pub period: i64,
    pub comments: Vec<StringAt>,
    pub default_sample_type: StringAt,
    pub left_out: LeftOut,
}

impl Tables {
    fn new() -> Self {
        Self {
            strings: Vec::new(),
            sample_types: Vec::new(),
            mapping_ids: Ids::new("mapping"),
            mappings: Vec::new(),
            location_ids: Ids::new("location"),
            locations: Vec::new(),
            lines: Vec::new(),
            function_ids: Ids::new("function"),
            functions: Vec::new(),
            samples: 0,
            frames: 0,
            keep_frames: StringAt::default(),
            time_nanos: 0,
            duration_nanos: 0,
            period_type: None,
            period: 0,
            comments: Vec::new(),
            default_sample_type: StringAt::default(),
            left_out: LeftOut::default(),
        }
    }

    /// Reads all but what is in samples; of them, how much it is.
    pub(super) fn read(wire: &mut Wire<'_>, budget: &mut Budget) -> Result<Self> {
        let mut tables = Self::new();
        wire.fields(|wire, field| {
            match field.number {
                SAMPLE_TYPE => tables.sample_type(wire, field)?,
                SAMPLE => tables.sample(wire, field)?,
                MAPPING => tables.mapping(wire, field, budget)?,
                LOCATION => tables.location(wire, field, budget)?,
                FUNCTION => tables.function(wire, field, budget)?,
                STRING_TABLE => tables.string(wire, field, budget)?,
                // `drop_frames`: the writer has its own.
                7 => drop(wire.int64(field, "drop_frames")?),
                8 => tables.keep_frames = StringAt { at: field.at, number: wire.int64(field, "keep_frames")? },
                9 => tables.time_nanos = wire.int64(field, "time_nanos")?,
                10 => tables.duration_nanos = wire.int64(field, "duration_nanos")?,
                11 => tables.period_type = Some(value_type(wire, field, "period_type", 1, &mut tables.left_out)?),
                12 => tables.period = wire.int64(field, "period")?,
                13 => wire.repeated(field, "comment", |_, value| {
                    budget.push(&mut tables.comments, StringAt { at: field.at, number: value.cast_signed() })
                })?,
                14 => {
                    let number = wire.int64(field, "default_sample_type")?;
                    tables.default_sample_type = StringAt { at: field.at, number };
                }
                _ => tables.left_out.unknown_fields += 1,
            }
            Ok(())
        })?;
        tables.mapping_ids.finish()?;
        tables.location_ids.finish()?;
        tables.function_ids.finish()?;
        Ok(tables)
    }

    /// The string with this number, which the message at byte `at` has as its `field`.
    pub(super) fn text(&self, number: i64, at: u64, path: &[(&str, u64)], field: &str) -> Result<&Arc<str>> {
        let found = usize::try_from(number).ok().and_then(|index| self.strings.get(index));
        found.ok_or_else(|| {
            let what = format!("{field} is string {number}, and the string table has {}", self.strings.len());
            malformed(at, path, &what)
        })
    }

    fn sample_type(&mut self, wire: &mut Wire<'_>, field: Field) -> Result<()> {
        let number = self.sample_types.len() as u64 + 1;
        if self.sample_types.len() == MAX_SAMPLE_TYPES {
            return Err(wire.malformed(field.at, &format!("more than {MAX_SAMPLE_TYPES} sample types")));
        }
        self.sample_types.push(value_type(wire, field, "sample_type", number, &mut self.left_out)?);
        Ok(())
    }

    fn sample(&mut self, wire: &mut Wire<'_>, field: Field) -> Result<()> {
        self.samples += 1;
        let mut depth = 0;
        wire.message(field, "sample", self.samples as u64, |wire, field| match field.number {
            LOCATION_ID => wire.repeated(field, "location_id", |wire, _| {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(wire.malformed(field.at, &format!("a stack of more than {MAX_DEPTH} frames")));
                }
                Ok(())
            }),
            // The second pass looks at these.
            _ => Ok(()),
        })?;
        self.frames += depth;
        Ok(())
    }

    fn mapping(&mut self, wire: &mut Wire<'_>, field: Field, budget: &mut Budget) -> Result<()> {
        let mut id = 0;
        let mut mapping = RawMapping { at: field.at, ..RawMapping::default() };
        wire.message(field, "mapping", self.mappings.len() as u64 + 1, |wire, field| {
            match field.number {
                1 => id = wire.varint(field, "id")?,
                2 => mapping.start = wire.varint(field, "memory_start")?,
                3 => mapping.limit = wire.varint(field, "memory_limit")?,
                4 => mapping.file_offset = wire.varint(field, "file_offset")?,
                5 => mapping.file = wire.int64(field, "filename")?,
                6 => mapping.build_id = wire.int64(field, "build_id")?,
                // What is known of its locations: the writer finds out itself.
                7..=10 => drop(wire.varint(field, "a has_ flag")?),
                _ => self.left_out.unknown_fields += 1,
            }
            Ok(())
        })?;
        self.mapping_ids.push(id, mapping.at, budget)?;
        budget.push(&mut self.mappings, mapping)
    }

    fn location(&mut self, wire: &mut Wire<'_>, field: Field, budget: &mut Budget) -> Result<()> {
        let mut id = 0;
        let mut location = RawLocation { at: field.at, ..RawLocation::default() };
        let (lines, left_out) = (&mut self.lines, &mut self.left_out);
        wire.message(field, "location", self.locations.len() as u64 + 1, |wire, field| {
            match field.number {
                1 => id = wire.varint(field, "id")?,
                2 => location.mapping_id = wire.varint(field, "mapping_id")?,
                3 => location.address = wire.varint(field, "address")?,
                4 => {
                    location.lines += 1;
                    if location.lines as usize > MAX_DEPTH {
                        return Err(wire.malformed(field.at, &format!("more than {MAX_DEPTH} lines")));
                    }
                    let line = line(wire, field, location.lines, left_out)?;
                    budget.push(lines, line)?;
                }
                5 => left_out.folded += u64::from(wire.varint(field, "is_folded")? != 0),
                _ => left_out.unknown_fields += 1,
            }
            Ok(())
        })?;
        self.location_ids.push(id, location.at, budget)?;
        budget.push(&mut self.locations, location)
    }

    fn function(&mut self, wire: &mut Wire<'_>, field: Field, budget: &mut Budget) -> Result<()> {
        let mut id = 0;
        let mut function = RawFunction { at: field.at, ..RawFunction::default() };
        wire.message(field, "function", self.functions.len() as u64 + 1, |wire, field| {
            match field.number {
                1 => id = wire.varint(field, "id")?,
                2 => function.name = wire.int64(field, "name")?,
                3 => function.system_name = wire.int64(field, "system_name")?,
                4 => function.file = wire.int64(field, "filename")?,
                5 => drop(wire.int64(field, "start_line")?),
                _ => self.left_out.unknown_fields += 1,
            }
            Ok(())
        })?;
        self.function_ids.push(id, function.at, budget)?;
        budget.push(&mut self.functions, function)
    }

    fn string(&mut self, wire: &mut Wire<'_>, field: Field, budget: &mut Budget) -> Result<()> {
        let number = self.strings.len();
        let (text, is_valid) = wire.string(field, "a string of string_table")?;
        if number == 0 && !text.is_empty() {
            return Err(wire.malformed(field.at, "string 0 of string_table is not empty, as it must be"));
        }
        self.left_out.damaged_strings += u64::from(!is_valid);
        budget.take(text.len() + STRING_OVERHEAD)?;
        budget.push(&mut self.strings, text.into())
    }
}

fn value_type(
    wire: &mut Wire<'_>,
    field: Field,
    name: &'static str,
    number: u64,
    left_out: &mut LeftOut,
) -> Result<ValueType> {
    let mut value_type = ValueType { at: field.at, ..ValueType::default() };
    wire.message(field, name, number, |wire, field| {
        match field.number {
            1 => value_type.name = wire.int64(field, "type")?,
            2 => value_type.unit = wire.int64(field, "unit")?,
            _ => left_out.unknown_fields += 1,
        }
        Ok(())
    })?;
    Ok(value_type)
}

fn line(wire: &mut Wire<'_>, field: Field, number: u32, left_out: &mut LeftOut) -> Result<RawLine> {
    let mut line = RawLine::default();
    wire.message(field, "line", number.into(), |wire, field| {
        match field.number {
            1 => line.function_id = wire.varint(field, "function_id")?,
            2 => match u32::try_from(wire.int64(field, "line")?) {
                Ok(number) => line.line = number,
                Err(_) => left_out.line_numbers += 1,
            },
            _ => left_out.unknown_fields += 1,
        }
        Ok(())
    })?;
    Ok(line)
}
