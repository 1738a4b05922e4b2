//! Reads a file, whose bytes may be anything.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::head::{self, Head};
use super::stored::{Stored, StoredStacks};
use super::{END_MAGIC, FIGURES, MOST_FRAMES, TRAILER_BYTES, section, unzigzag};
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{BuildId, ByteSize, Cohorts, Mapping, PackedTotals, ReturnAddress, Sums, leb128};

/// What one file may make us hold: a floor, as small files of much that is alike are fine, and more for larger ones up to a
/// ceiling. 262,144 stacks of 64 frames take 130 MiB.
const BUDGET_FLOOR: u64 = 192 << 20;
const BUDGET_PER_BYTE: u64 = 32;
const BUDGET_CEILING: u64 = 1 << 30;

/// Longest path and build id.
const MOST_PATH: u64 = 64 << 10;
const MOST_BUILD_ID: u64 = 255;

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    packed: u64,
    plain: u64,
    crc: u32,
}

impl Trailer {
    /// Of the last [`TRAILER_BYTES`] of a file of `file` bytes, whose head takes the first `head` of them.
    ///
    /// # Errors
    ///
    /// When the file is not whole.
    pub(crate) fn read(bytes: &[u8], head: usize, file: u64) -> Result<Self> {
        let at = file.saturating_sub(TRAILER_BYTES as u64);
        let wrong = |what: &str| Error::malformed(format!("at byte {at}: {what}"));
        let trailer: &[u8; TRAILER_BYTES] =
            bytes.try_into().map_err(|_| wrong("the file ends before its trailer does"))?;
        if trailer[20..28] != END_MAGIC || head::crc(&trailer[..28]).to_le_bytes() != trailer[28..] {
            return Err(wrong("this is no end of a snapshot: it is cut off or damaged"));
        }
        let number = |at: usize| trailer[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let crc = trailer[16..20].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let this = Self { packed: number(0), plain: number(8), crc };
        if (head as u64).checked_add(this.packed) != Some(at) {
            return Err(wrong("the trailer tells another length than the file has"));
        }
        Ok(this)
    }
}

/// The head of the file that begins with `bytes`, and how many bytes it takes.
///
/// # Errors
///
/// [`ErrorKind::Malformed`], with the place.
pub(crate) fn read_head(bytes: &[u8]) -> Result<(Head, usize)> {
    head::read(bytes)
}

/// As [`decode_within`], with room for all that such a file may take.
#[cfg(test)]
pub(crate) fn decode(bytes: &[u8]) -> Result<Stored> {
    decode_within(bytes, None)
}

/// The snapshot in `bytes`, a whole file, of which no more is held than there is `room` for.
///
/// # Errors
///
/// [`ErrorKind::Malformed`], with the place and what is wrong there; [`ErrorKind::Busy`] where there is not enough room.
pub(crate) fn decode_within(bytes: &[u8], room: Option<u64>) -> Result<Stored> {
    let (head, start) = head::read(bytes)?;
    let end = bytes.len().saturating_sub(TRAILER_BYTES).max(start);
    let trailer = Trailer::read(&bytes[end..], start, bytes.len() as u64)?;
    // Of the packed bytes: then nothing is unpacked that is damaged.
    if head::crc(&bytes[start..end]) != trailer.crc {
        return Err(Error::malformed(format!("at byte {start}: the checksum of the body that begins here is wrong")));
    }
    let mut body = Body::new(&bytes[start..end], trailer.plain, room);
    let mappings = body.mappings()?;
    let told_apart = body.list(section::TOLD_APART, |body| body.u32())?;
    let weights = body.list(section::WEIGHTS, Body::sums)?;
    body.section(section::COHORTS)?;
    let (rows, at) = (body.block()?, body.place());
    let mut epoch = 0i64;
    let mut live = [0; 2];
    check_rows(&rows, |[_, epoch_step, weight, objects]| {
        epoch = epoch.saturating_add(leb128::unzigzag(epoch_step));
        let of = |each: &Sums| [each.objects, each.bytes].map(|figure| figure.saturating_mul(objects));
        let all = usize::try_from(weight).ok().and_then(|weight| weights.get(weight)).map(of);
        all.is_some_and(|all| adds_up(&mut live, all)) && objects <= u32::MAX.into() && u32::try_from(epoch).is_ok()
    })
    .map_err(|what| at.wrong(what))?;
    body.section(section::TOTALS)?;
    let (totals, at) = (body.block()?, body.place());
    let mut allocated = [0; 5];
    check_rows(&totals, |[_, of @ ..]: [u64; 6]| adds_up(&mut allocated, of)).map_err(|what| at.wrong(what))?;
    let stacks = body.stacks()?;
    body.section(section::END)?;
    body.finish(&trailer)?;
    let (cohorts, totals) = (Cohorts::of_bytes(rows, weights), PackedTotals::of_bytes(totals));
    Ok(Stored { head, mappings, told_apart, cohorts, totals, stacks })
}

/// Whether `bytes` are rows of `N` numbers each, with steps from stack to stack that never go back, and all as `is_good` says.
fn check_rows<const N: usize>(
    mut bytes: &[u8],
    mut is_good: impl FnMut([u64; N]) -> bool,
) -> std::result::Result<(), &'static str> {
    let mut stack = 0u64;
    while !bytes.is_empty() {
        let mut row = [0; N];
        for number in &mut row {
            *number = leb128::pop(&mut bytes).ok_or("a row is cut off")?;
        }
        stack = row.first().and_then(|step| stack.checked_add(*step)).ok_or("a stack's number is too large")?;
        if stack > u32::MAX.into() || !is_good(row) {
            return Err("a row says what cannot be");
        }
    }
    Ok(())
}

/// Whether `sums` with `more` can be, so that whoever sums up what a file says need not ask.
fn adds_up<const N: usize>(sums: &mut [u64; N], more: [u64; N]) -> bool {
    sums.iter_mut().zip(more).all(|(sum, more)| {
        *sum = sum.saturating_add(more);
        *sum <= i64::MAX as u64
    })
}

/// A place in the unpacked body, for errors.
#[derive(Clone, Copy)]
struct PlaceInBody(u64);

impl PlaceInBody {
    fn wrong(self, what: impl std::fmt::Display) -> Error {
        Error::malformed(format!("at byte {} of the unpacked body: {what}", self.0))
    }
}

struct Body<'b> {
    source: DeflateDecoder<&'b [u8]>,
    chunk: Box<[u8]>,
    at: usize,
    filled: usize,
    before: u64,
    /// As the trailer tells; the stream may not go beyond.
    most: u64,
    left: u64,
    whole: u64,
    /// Whether that is what there is room for, and not what such a file may take.
    is_room: bool,
}

impl<'b> Body<'b> {
    fn new(packed: &'b [u8], most: u64, room: Option<u64>) -> Self {
        let budget = (packed.len() as u64).saturating_mul(BUDGET_PER_BYTE).clamp(BUDGET_FLOOR, BUDGET_CEILING);
        let whole = room.map_or(budget, |room| room.min(budget));
        Self {
            source: DeflateDecoder::new(packed),
            chunk: vec![0; 32 << 10].into(),
            at: 0,
            filled: 0,
            before: 0,
            most,
            left: whole,
            whole,
            is_room: whole < budget,
        }
    }

    fn place(&self) -> PlaceInBody {
        PlaceInBody(self.before + self.at as u64)
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        self.place().wrong(what)
    }

    /// Charges for `bytes` before they are held.
    fn take(&mut self, bytes: u64) -> Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None if self.is_room => {
                let room = ByteSize::bytes(self.whole);
                let message = format!(
                    "the snapshot was not read: it takes more than {room}, which is all that there is room for"
                );
                Err(Error::new(ErrorKind::Busy, message))
            }
            None => {
                let most = ByteSize::bytes(self.whole);
                Err(self
                    .wrong(format_args!("holding it would take more than {most}, which is what such a file may take")))
            }
        }
    }

    fn refill(&mut self) -> Result<()> {
        self.before += self.filled as u64;
        (self.at, self.filled) = (0, 0);
        let read = self.source.read(&mut self.chunk).map_err(|error| self.wrong(error))?;
        if read == 0 {
            return Err(self.wrong("the body ends too early"));
        }
        if self.before + read as u64 > self.most {
            return Err(self.wrong("the body is longer than the trailer tells"));
        }
        self.filled = read;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        if self.at == self.filled {
            self.refill()?;
        }
        let byte = self.chunk[self.at];
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.wrong("a number has no end"))
    }

    fn u32(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.wrong(format_args!("{number} is too large")))
    }

    /// `count` bytes, for which room is made as they come.
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            if self.at == self.filled {
                self.refill()?;
            }
            let missing = usize::try_from(count - bytes.len() as u64).unwrap_or(usize::MAX);
            let here = missing.min(self.filled - self.at);
            if bytes.capacity() - bytes.len() < here {
                let more = here.max(bytes.capacity());
                self.take(more as u64)?;
                bytes.reserve_exact(more);
            }
            bytes.extend_from_slice(&self.chunk[self.at..self.at + here]);
            self.at += here;
        }
        Ok(bytes)
    }

    fn section(&mut self, expect: u8) -> Result<()> {
        match self.byte()? {
            found if found == expect => Ok(()),
            found => Err(self.wrong(format_args!("section {expect} should begin here, and {found} does"))),
        }
    }

    fn list<T>(&mut self, section: u8, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.section(section)?;
        let count = self.number()?;
        let mut items = Vec::new();
        for _ in 0..count {
            if items.len() == items.capacity() {
                let more = items.capacity().max(16);
                self.take((more * size_of::<T>()) as u64)?;
                items.reserve_exact(more);
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn sums(&mut self) -> Result<Sums> {
        let (objects, bytes) = (self.number()?, self.number()?);
        let mut figures = [0.0; 4];
        for figure in &mut figures {
            let mut bits = [0; 8];
            for byte in &mut bits {
                *byte = self.byte()?;
            }
            *figure = f64::from_le_bytes(bits);
            if !FIGURES.contains(figure) {
                return Err(self.wrong("a figure that no heap has"));
            }
        }
        let [estimated_objects, estimated_bytes, variance_objects, variance_bytes] = figures;
        Ok(Sums { objects, bytes, estimated_objects, estimated_bytes, variance_objects, variance_bytes })
    }

    /// A length and as many bytes.
    fn block(&mut self) -> Result<Vec<u8>> {
        let count = self.number()?;
        self.bytes(count)
    }

    fn short_block(&mut self, most: u64) -> Result<Vec<u8>> {
        let count = self.number()?;
        if count > most {
            return Err(self.wrong(format_args!("{count} bytes, and at most {most} are allowed here")));
        }
        self.bytes(count)
    }

    fn mappings(&mut self) -> Result<Vec<Mapping>> {
        let mappings = self.list(section::MAPPINGS, |body| {
            let (start, len, file_offset) = (body.number()?, body.number()?, body.number()?);
            let limit = start.checked_add(len).ok_or_else(|| body.wrong("a file is loaded beyond the last address"))?;
            let path = String::from_utf8(body.short_block(MOST_PATH)?);
            let path = path.map_err(|_| body.wrong("a path that is not UTF-8"))?;
            let build_id = Some(body.short_block(MOST_BUILD_ID)?).filter(|id| !id.is_empty());
            Ok(Mapping { start, limit, file_offset, path, build_id: build_id.map(|id| BuildId(id.into())) })
        })?;
        if !mappings.is_sorted_by(|one, next| one.limit <= next.start) {
            return Err(self.wrong("loaded files overlap, or are not in the order of their addresses"));
        }
        Ok(mappings)
    }

    fn stacks(&mut self) -> Result<StoredStacks> {
        self.section(section::STACKS)?;
        let mut stacks = StoredStacks::default();
        // From the root on.
        let mut frames: Vec<ReturnAddress> = Vec::with_capacity(MOST_FRAMES);
        let mut last: Option<u32> = None;
        loop {
            let step = self.number()?;
            if step == 0 {
                return Ok(stacks);
            }
            let stack = u64::from(last.unwrap_or(0)).checked_add(step).map(|next| next - u64::from(last.is_none()));
            let stack = stack.and_then(|stack| u32::try_from(stack).ok());
            let stack = stack.ok_or_else(|| self.wrong("a stack's number is too large"))?;
            last = Some(stack);
            let (shared, others) = (self.number()?, self.number()?);
            if shared > frames.len() as u64 || others > MOST_FRAMES as u64 - shared {
                return Err(self.wrong(format_args!(
                    "a stack of {others} frames and {shared} of the one before, which has {}",
                    frames.len()
                )));
            }
            frames.truncate(shared as usize);
            for _ in 0..others {
                let step = unzigzag(self.number()?);
                frames.push(ReturnAddress(frames.last().map_or(0, |frame| frame.0).wrapping_add(step)));
            }
            // Twice: a list that grows is there twice for a moment.
            self.take(2 * (size_of_val(&frames[..]) as u64 + 8))?;
            stacks.push(stack, frames.iter().rev().copied());
        }
    }

    fn finish(mut self, trailer: &Trailer) -> Result<()> {
        let place = self.place();
        if place.0 != trailer.plain {
            return Err(place.wrong(format_args!("the body ends, and the trailer tells {} bytes", trailer.plain)));
        }
        // Whatever would come is too much.
        if self.source.read(&mut [0]).map_err(|error| place.wrong(error))? > 0 {
            return Err(place.wrong("the body goes on after its end"));
        }
        Ok(())
    }
}
