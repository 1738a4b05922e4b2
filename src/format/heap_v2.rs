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

use crate::error::{Error, Result};
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
    let mut lines = Lines { rest: text, number: 0 };

    let sample_interval = lines.require(HEADER)?.header()?;
    lines.require(TOTALS)?.totals()?;

    let mut stacks = Vec::new();
    let mut mapped_libraries = Box::default();
    while let Some(line) = lines.next(BODY)? {
        match line.rest {
            [b'@', ..] => {
                let addresses = line.addresses()?;
                let stack = lines.require(TOTALS)?.totals()?.stack(addresses);
                // jemalloc leaves out what has no samples, but writes zeros where its unbiased counts are 0.
                if !stack.is_zero() {
                    stacks.push(stack);
                }
            }
            [b' ', b' ', b't', b'*', ..] => {
                return Err(line.unexpected("one `  t*` line at most for the header and each stack"));
            }
            [b' ', b' ', b't', ..] => line.thread()?,
            b"" => {
                lines.require(MAPS)?.maps_heading()?;
                mapped_libraries = lines.remainder()?;
            }
            // jemalloc puts an empty line before it, but nothing hangs on that.
            [b'M', ..] => {
                line.maps_heading()?;
                mapped_libraries = lines.remainder()?;
            }
            _ => return Err(line.unexpected(BODY)),
        }
    }

    Ok(HeapDump { sample_interval, stacks, mapped_libraries })
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

/// The lines that are still to be read.
struct Lines<'a> {
    rest: &'a [u8],
    /// Of the line read last, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line, or `None` at the end of the dump. A last line without its line break was cut: even where it reads
    /// well, its last number may have lost digits.
    fn next(&mut self, expected: &str) -> Result<Option<Line<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            let found = format!("{}, cut off by the end of the dump", quoted(self.rest));
            return Err(unexpected(self.number, &found, expected));
        };
        let line = Line { number: self.number, rest: &self.rest[..end] };
        self.rest = &self.rest[end + 1..];
        Ok(Some(line))
    }

    fn require(&mut self, expected: &str) -> Result<Line<'a>> {
        match self.next(expected)? {
            Some(line) => Ok(line),
            None => Err(unexpected(self.number + 1, "the end of the dump", expected)),
        }
    }

    /// Everything up to the end, which must be whole lines too.
    fn remainder(&mut self) -> Result<Box<[u8]>> {
        let text = self.rest;
        while self.next(MAPPING)?.is_some() {}
        Ok(text.into())
    }
}

/// One line, read from its front.
struct Line<'a> {
    number: usize,
    rest: &'a [u8],
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

    fn addresses(mut self) -> Result<Box<[ReturnAddress]>> {
        self.literal("@", "`@`")?;
        let mut addresses = Vec::new();
        while !self.rest.is_empty() {
            self.literal(" ", "a blank and an address, or the end of the line")?;
            let length = self.rest.iter().take_while(|&&byte| byte != b' ').count();
            let (token, rest) = self.rest.split_at(length);
            let Some(address) = token.strip_prefix(b"0x").and_then(|digits| number(digits, 16)) else {
                return Err(self.unexpected("an address: `0x` and hex digits, below 2^64"));
            };
            addresses.push(ReturnAddress(address));
            self.rest = rest;
        }
        Ok(addresses.into())
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

    fn decimal(&mut self) -> Result<u64> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        let Some(value) = number(digits, 10) else {
            return Err(self.unexpected("a decimal number below 2^64"));
        };
        self.rest = rest;
        Ok(value)
    }

    fn literal(&mut self, literal: &str, expected: &str) -> Result<()> {
        match self.rest.strip_prefix(literal.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.unexpected(expected)),
        }
    }

    fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected("the end of the line")) }
    }

    /// Shows the line from where it stopped making sense.
    fn unexpected(&self, expected: &str) -> Error {
        let found = if self.rest.is_empty() { "the end of the line".to_owned() } else { quoted(self.rest) };
        unexpected(self.number, &found, expected)
    }
}

fn unexpected(line: usize, found: &str, expected: &str) -> Error {
    Error::malformed(format!("heap_v2 dump, line {line}: found {found}, expected {expected}"))
}

/// The number that is all of `digits`; `None` when it is none or too big.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` takes a sign, the format has none.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// The most that a message shows of a dump, in bytes after escaping and without the quotes.
const SHOWN_BYTES: usize = 60;

/// Text from a dump as it may stand in a message: escaped, shortened and between quotes.
fn quoted(found: &[u8]) -> String {
    const MORE: &str = "...";

    // An escape is never shorter than its byte, so bytes past the limit cannot be shown anyway.
    let mut shown = found[..found.len().min(SHOWN_BYTES + 1)].escape_ascii().to_string();
    if shown.len() > SHOWN_BYTES {
        shown.clear();
        for &byte in found {
            let escaped = std::ascii::escape_default(byte);
            if shown.len() + escaped.len() > SHOWN_BYTES - MORE.len() {
                break;
            }
            shown.extend(escaped.map(char::from));
        }
        shown.push_str(MORE);
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests;
