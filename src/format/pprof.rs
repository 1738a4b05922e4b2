//! profile.proto, gzipped: what `go tool pprof` reads.
//!
//! Source: profile.proto of google/pprof, in the messages of the `pprof` crate. Each message is encoded and goes
//! through gzip as it is made, so memory is that of one message and the tables of strings and functions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::protos::{self, Message};

use crate::profile::{Function, Location, Mapping, Profile, SAMPLE_TYPES, SampleType, Trim};

/// Field numbers of profile.proto's `Profile`.
mod field {
    pub(super) const SAMPLE_TYPE: u32 = 1;
    pub(super) const SAMPLE: u32 = 2;
    pub(super) const MAPPING: u32 = 3;
    pub(super) const LOCATION: u32 = 4;
    pub(super) const FUNCTION: u32 = 5;
    pub(super) const STRING_TABLE: u32 = 6;
}

/// What a heap profile's period counts.
pub(crate) const SPACE: SampleType = SampleType { name: "space", unit: "bytes" };

/// All of a profile but its samples.
pub(crate) struct Tail<'p> {
    /// When it was taken; of a difference, when the later one was.
    pub time: SystemTime,
    /// How long it covers; zero for a moment.
    pub duration: Duration,
    /// What `period` counts.
    pub period_type: SampleType,
    /// The mean number of those between two samples.
    pub period: u64,
    /// Sorted by start address.
    pub mappings: &'p [Mapping],
    /// What the samples' stacks are indices of.
    pub locations: &'p [Location],
    /// The sample type that a viewer shows first.
    pub default_sample_type: &'p str,
    /// A regular expression of the frames that a viewer hides; empty for none.
    pub drop_frames: &'p str,
    /// Remarks for the reader.
    pub comments: &'p [String],
}

/// Writes `profile` to `out`, gzipped.
pub(crate) fn write(profile: &Profile, out: impl Write) -> io::Result<()> {
    let mut writer = Writer::new(out, &SAMPLE_TYPES)?;
    for sample in &profile.samples {
        writer.sample(profile.stack(sample), &sample.values, sample.average_size)?;
    }
    let tail = Tail {
        time: profile.time,
        duration: profile.duration,
        period_type: SPACE,
        period: profile.sample_interval,
        mappings: &profile.mappings,
        locations: &profile.locations,
        default_sample_type: profile.default_sample_type,
        drop_frames: Trim::Std.drop_frames(),
        comments: &profile.comments,
    };
    writer.finish(&tail)
}

/// A profile that is being written: its samples one by one, then the rest.
pub(crate) struct Writer<'p, W: Write> {
    out: GzEncoder<W>,
    strings: Strings<'p>,
    /// Function (name, system name, file) → id, from 1.
    functions: HashMap<(i64, i64, i64), u64>,
    sample: protos::Sample,
    buffer: Vec<u8>,
}

impl<'p, W: Write> Writer<'p, W> {
    /// Begins a profile whose samples have a value of each of `sample_types`.
    pub(crate) fn new(out: W, sample_types: &[SampleType]) -> io::Result<Self> {
        let mut writer = Self {
            out: GzEncoder::new(out, Compression::fast()),
            strings: Strings::new(),
            functions: HashMap::new(),
            sample: protos::Sample::default(),
            buffer: Vec::new(),
        };
        for &sample_type in sample_types {
            let message = writer.value_type(sample_type);
            writer.message(field::SAMPLE_TYPE, &message)?;
        }
        Ok(writer)
    }

    /// Adds a sample. `stack` are indices of what will be [`Tail::locations`], leaf first; an `average_size` in bytes
    /// becomes the label `bytes` unless it is 0.
    pub(crate) fn sample(&mut self, stack: &[u32], values: &[i64], average_size: i64) -> io::Result<()> {
        let mut message = std::mem::take(&mut self.sample);
        message.location_id.clear();
        message.location_id.extend(stack.iter().map(|&index| u64::from(index) + 1));
        message.value.clear();
        message.value.extend(values);
        message.label.clear();
        if average_size != 0 {
            message.label.push(protos::Label {
                key: self.strings.id("bytes"),
                num: average_size,
                ..Default::default()
            });
        }
        let written = self.message(field::SAMPLE, &message);
        self.sample = message;
        written
    }

    /// Writes everything else.
    pub(crate) fn finish(mut self, tail: &Tail<'p>) -> io::Result<()> {
        self.mappings(tail)?;
        for (index, location) in tail.locations.iter().enumerate() {
            self.location(index as u64 + 1, location)?;
        }
        self.scalars(tail)?;
        // Last: everything above adds to it. The order of fields in a message does not matter to a reader.
        for text in std::mem::take(&mut self.strings.list) {
            self.bytes(field::STRING_TABLE, text.as_bytes())?;
        }
        self.out.finish()?.flush()
    }

    fn mappings(&mut self, tail: &Tail<'p>) -> io::Result<()> {
        let flags = flags(tail);
        for (index, mapping) in tail.mappings.iter().enumerate() {
            let flags = flags[index].unwrap_or_default();
            let build_id = match &mapping.build_id {
                Some(id) => self.strings.owned(id.to_string()),
                None => 0,
            };
            let message = protos::Mapping {
                id: index as u64 + 1,
                memory_start: mapping.start,
                memory_limit: mapping.limit,
                file_offset: mapping.file_offset,
                filename: self.strings.id(&mapping.path),
                build_id,
                has_functions: flags.functions,
                has_filenames: flags.files,
                has_line_numbers: flags.lines,
                has_inline_frames: flags.lines,
            };
            self.message(field::MAPPING, &message)?;
        }
        Ok(())
    }

    fn location(&mut self, id: u64, location: &'p Location) -> io::Result<()> {
        let mut line = Vec::with_capacity(location.frame.functions().len());
        for function in location.frame.functions() {
            line.push(protos::Line { function_id: self.function(function)?, line: i64::from(function.line) });
        }
        let message = protos::Location {
            id,
            mapping_id: location.mapping.map_or(0, |index| u64::from(index) + 1),
            address: location.address.0,
            line,
            is_folded: false,
        };
        self.message(field::LOCATION, &message)
    }

    /// The id of a function, written at its first sight.
    fn function(&mut self, function: &'p Function) -> io::Result<u64> {
        let key =
            (self.strings.id(&function.name), self.strings.id(&function.system_name), self.strings.id(&function.file));
        if let Some(&id) = self.functions.get(&key) {
            return Ok(id);
        }
        let id = self.functions.len() as u64 + 1;
        self.functions.insert(key, id);
        let message = protos::Function { id, name: key.0, system_name: key.1, filename: key.2, start_line: 0 };
        self.message(field::FUNCTION, &message)?;
        Ok(id)
    }

    /// The fields of `Profile` that are not lists of messages.
    fn scalars(&mut self, tail: &Tail<'p>) -> io::Result<()> {
        let message = protos::Profile {
            drop_frames: self.strings.id(tail.drop_frames),
            time_nanos: nanos_since_epoch(tail.time),
            duration_nanos: i64::try_from(tail.duration.as_nanos()).unwrap_or(i64::MAX),
            period_type: Some(self.value_type(tail.period_type)),
            period: i64::try_from(tail.period).unwrap_or(i64::MAX),
            comment: tail.comments.iter().map(|comment| self.strings.id(comment)).collect(),
            default_sample_type: self.strings.id(tail.default_sample_type),
            ..Default::default()
        };
        // Fields of one message may be written in pieces: a reader joins them.
        self.buffer.clear();
        message.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
    }

    fn value_type(&mut self, sample_type: SampleType) -> protos::ValueType {
        protos::ValueType { ty: self.strings.id(sample_type.name), unit: self.strings.id(sample_type.unit) }
    }

    fn message(&mut self, field: u32, message: &impl Message) -> io::Result<()> {
        self.buffer.clear();
        message.encode(&mut self.buffer).map_err(io::Error::other)?;
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.bytes(field, &buffer);
        self.buffer = buffer;
        written
    }

    /// One length-delimited field: its key (wire type 2), its length, its bytes.
    fn bytes(&mut self, field: u32, bytes: &[u8]) -> io::Result<()> {
        let mut head = [0u8; 20];
        let mut at = varint(&mut head, 0, u64::from(field << 3 | 2));
        at = varint(&mut head, at, bytes.len() as u64);
        self.out.write_all(&head[..at])?;
        self.out.write_all(bytes)
    }
}

/// What is known of every location of a mapping.
#[derive(Clone, Copy, Default)]
struct Flags {
    functions: bool,
    files: bool,
    lines: bool,
}

/// The flags of each mapping that has locations. A viewer looks no names up where a flag says that they are there,
/// so one location without them takes the flag from the whole mapping.
fn flags(tail: &Tail<'_>) -> Vec<Option<Flags>> {
    let mut all: Vec<Option<Flags>> = vec![None; tail.mappings.len()];
    for location in tail.locations {
        let Some(flags) = location.mapping.and_then(|index| all.get_mut(index as usize)) else { continue };
        let functions = location.frame.functions();
        let known = flags.get_or_insert(Flags { functions: true, files: true, lines: true });
        known.functions &= !functions.is_empty();
        known.files &= known.functions && functions.iter().all(|function| !function.file.is_empty());
        known.lines &= known.functions && functions.iter().all(|function| function.line > 0);
    }
    all
}

/// Writes `value` at `at` as a base-128 varint, at most ten bytes; returns where it ends.
fn varint(head: &mut [u8; 20], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        head[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    head[at] = value as u8;
    at + 1
}

fn nanos_since_epoch(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The string table. String 0 is empty, as the format asks for.
struct Strings<'p> {
    ids: HashMap<Cow<'p, str>, i64>,
    list: Vec<Cow<'p, str>>,
}

impl<'p> Strings<'p> {
    fn new() -> Self {
        let mut strings = Self { ids: HashMap::new(), list: Vec::new() };
        strings.id("");
        strings
    }

    fn id(&mut self, text: &'p str) -> i64 {
        self.add(text.into())
    }

    fn owned(&mut self, text: String) -> i64 {
        self.add(text.into())
    }

    fn add(&mut self, text: Cow<'p, str>) -> i64 {
        let next = self.list.len() as i64;
        match self.ids.entry(text) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.list.push(new.key().clone());
                *new.insert(next)
            }
        }
    }
}
