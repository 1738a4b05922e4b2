//! Reads the text that jemalloc's `prof.dump` writes: its `heap_v2` format.
//!
//! The source is jemalloc 5.3's own writer (`prof_dump_header` and `prof_dump_gctx` in `src/prof_data.c`,
//! `prof_dump_maps` in `src/prof_sys.c`), which writes:
//!
//! ```text
//! heap_v2/<R>                                      R: mean sample interval in bytes
//!   t*: <n>: <bytes> [<n>: <bytes>]                all threads: in use [ever allocated]
//!   t<id>: <n>: <bytes> [<n>: <bytes>] <name>      a line per thread; the name may be missing
//! @ 0x<address> 0x<address> ...                    a line per stack, leaf first
//!   t*: <n>: <bytes> [<n>: <bytes>]                this stack, all threads
//!   t<id>: <n>: <bytes> [<n>: <bytes>]             this stack, a line per thread
//!
//! MAPPED_LIBRARIES:                                missing when jemalloc could not open the maps
//! <the text of /proc/self/maps>
//! ```
//!
//! Exactly that is taken and no more, so that a dump that was cut or garbled is an error and not a smaller heap. A cut
//! between two whole stacks cannot be seen. jemalloc writes no other lines and does not escape thread names: with
//! `prof_sys_thread_name` a thread can have a line break in its name, and such a dump is refused.
//!
//! Sums are not checked: jemalloc takes each thread's counts at another moment, so a sound dump may not add up.

mod lines;
mod maps;
mod text;
mod to_profile;

pub(super) use lines::quoted;
use lines::{Line, Lines};
pub(super) use to_profile::{is_text, read};

use crate::error::Result;
use crate::profile::ReturnAddress;

/// A parsed dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeapDump {
    /// R, the mean number of bytes between two samples; never 0.
    pub sample_interval: u64,
    /// The stacks in the dump's order, without those whose counts are all 0.
    pub stacks: Vec<DumpStack>,
    /// What followed `MAPPED_LIBRARIES:`, as it stands: on Linux the lines of `/proc/self/maps`. Empty when the dump had none.
    pub mapped_libraries: Box<[u8]>,
}

/// A stack and its `t*` line: samples as jemalloc wrote them, not scaled up to the heap.
///
/// jemalloc rounds objects and bytes each for itself, so there may be bytes with 0 objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DumpStack {
    /// Leaf first. Empty when jemalloc could not unwind.
    pub addresses: Box<[ReturnAddress]>,
    /// Sampled objects that are alive.
    pub inuse_objects: u64,
    /// Their bytes.
    pub inuse_bytes: u64,
    /// Sampled objects ever allocated; 0 without jemalloc's `prof_accum`.
    pub alloc_objects: u64,
    /// Their bytes; 0 without jemalloc's `prof_accum`.
    pub alloc_bytes: u64,
}

// What may stand in a place, for messages.
const HEADER: &str = "the header `heap_v2/<sample interval>`";
const TOTALS: &str = "the line `  t*: <n>: <bytes> [<n>: <bytes>]` with the counts of all threads";
const BODY: &str = "a stack `@ 0x<address> ...`, a thread `  t<id>: ...` or an empty line and `MAPPED_LIBRARIES:`";
const MAPS: &str = "`MAPPED_LIBRARIES:`";
const MAPPING: &str = "a line of mapped libraries";

/// Parses a whole dump. Never panics, and its memory is bounded by the size of `text`.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed), with the number of the line, what was found there and what is expected.
pub(crate) fn parse(text: &[u8]) -> Result<HeapDump> {
    let mut reader = DumpReader::open(text)?;
    let mut stacks = Vec::new();
    while let Some(stack) = reader.next()? {
        stacks.push(stack);
    }
    let DumpReader { sample_interval, mapped_libraries, .. } = reader;
    Ok(HeapDump { sample_interval, stacks, mapped_libraries: mapped_libraries.into() })
}

/// A dump whose stacks are read one by one.
struct DumpReader<'a> {
    lines: Lines<'a>,
    /// R, never 0.
    sample_interval: u64,
    /// Known when all stacks are read.
    mapped_libraries: &'a [u8],
}

impl<'a> DumpReader<'a> {
    fn open(text: &'a [u8]) -> Result<Self> {
        let mut lines = Lines::new("heap_v2 dump", text);
        let sample_interval = lines.require(HEADER)?.header()?;
        lines.require(TOTALS)?.totals()?;
        Ok(Self { lines, sample_interval, mapped_libraries: &[] })
    }

    /// The next stack whose counts are not all 0.
    fn next(&mut self) -> Result<Option<DumpStack>> {
        while let Some(line) = self.lines.next(BODY)? {
            match line.rest {
                [b'@', ..] => {
                    let addresses = line.stack()?;
                    let stack = self.lines.require(TOTALS)?.totals()?.stack(addresses);
                    // jemalloc leaves out what has no samples, but writes zeros where its unbiased counts are 0.
                    if !stack.is_zero() {
                        return Ok(Some(stack));
                    }
                }
                [b' ', b' ', b't', b'*', ..] => {
                    return Err(line.unexpected("one `  t*` line at most for the header and each stack"));
                }
                [b' ', b' ', b't', ..] => line.thread()?,
                b"" => {
                    self.lines.require(MAPS)?.maps_heading()?;
                    self.mapped_libraries = self.lines.remainder(MAPPING)?;
                }
                // jemalloc puts an empty line before it, but nothing hangs on that.
                [b'M', ..] => {
                    line.maps_heading()?;
                    self.mapped_libraries = self.lines.remainder(MAPPING)?;
                }
                _ => return Err(line.unexpected(BODY)),
            }
        }
        Ok(None)
    }
}

impl DumpStack {
    fn is_zero(&self) -> bool {
        [self.inuse_objects, self.inuse_bytes, self.alloc_objects, self.alloc_bytes] == [0; 4]
    }
}

/// The four numbers of a `t` line, in its order.
struct Counts([u64; 4]);

impl Counts {
    fn stack(self, addresses: Box<[ReturnAddress]>) -> DumpStack {
        let Counts([inuse_objects, inuse_bytes, alloc_objects, alloc_bytes]) = self;
        DumpStack { addresses, inuse_objects, inuse_bytes, alloc_objects, alloc_bytes }
    }
}

impl Line<'_> {
    fn header(mut self) -> Result<u64> {
        self.literal("heap_v2/", HEADER)?;
        let digits = self.rest;
        let interval = self.decimal()?;
        self.end()?;
        if interval == 0 {
            self.rest = digits;
            return Err(self.unexpected("a sample interval of at least 1 byte"));
        }
        Ok(interval)
    }

    fn totals(mut self) -> Result<Counts> {
        self.literal("  t*: ", TOTALS)?;
        let counts = self.counts()?;
        self.end()?;
        Ok(counts)
    }

    /// A line of one thread, of which nothing is kept.
    fn thread(mut self) -> Result<()> {
        self.literal("  t", "`  t<id>: `")?;
        self.decimal()?;
        self.literal(": ", "`: `")?;
        self.counts()?;
        // A name may be any bytes, blanks and brackets too.
        if !self.rest.is_empty() {
            self.literal(" ", "a blank and the thread's name, or the end of the line")?;
        }
        Ok(())
    }

    fn stack(mut self) -> Result<Box<[ReturnAddress]>> {
        self.literal("@", "`@`")?;
        self.addresses()
    }

    fn maps_heading(mut self) -> Result<()> {
        self.literal("MAPPED_LIBRARIES:", MAPS)?;
        self.end()
    }

    fn counts(&mut self) -> Result<Counts> {
        let inuse_objects = self.decimal()?;
        self.literal(": ", "`: `")?;
        let inuse_bytes = self.decimal()?;
        self.literal(" [", "` [`")?;
        let alloc_objects = self.decimal()?;
        self.literal(": ", "`: `")?;
        let alloc_bytes = self.decimal()?;
        self.literal("]", "`]`")?;
        Ok(Counts([inuse_objects, inuse_bytes, alloc_objects, alloc_bytes]))
    }
}

#[cfg(test)]
mod tests;
