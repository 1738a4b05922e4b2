//! Writes a file, in buffers that are there before.

use std::fmt;
use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::head::{self, HeadText};
use super::{END_MAGIC, MOST_FRAMES, MOST_HEAD_BYTES, TRAILER_BYTES, section, zigzag};
use crate::profile::{Mapping, ReturnAddress, Sums};
use crate::snapshot::Snapshot;

/// Bytes of each buffer.
const CHUNK: usize = 64 << 10;

/// Hands the return addresses of a stack, leaf first, to its second argument.
pub(crate) type FramesOf<'f> = dyn Fn(u32, &mut dyn FnMut(ReturnAddress)) + 'f;

/// What writing a file takes: made at start, and as large then as it will ever be.
pub(crate) struct Packer {
    compress: Compress,
    head: Box<[u8; MOST_HEAD_BYTES]>,
    plain: Box<[u8]>,
    packed: Box<[u8]>,
    /// The frames of the last stack and of this one, from the root on.
    frames: [Box<[u64]>; 2],
}

impl Packer {
    pub(crate) fn new() -> Self {
        let frames = || vec![0; MOST_FRAMES].into_boxed_slice();
        Self {
            // Fast: what is written at the worst of moments must not take long.
            compress: Compress::new(Compression::fast(), false),
            head: Box::new([0; MOST_HEAD_BYTES]),
            plain: vec![0; CHUNK].into(),
            packed: vec![0; CHUNK].into(),
            frames: [frames(), frames()],
        }
    }

    /// Writes `snapshot` to `out` and returns how many bytes that took. Allocates nothing.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn write(
        &mut self,
        snapshot: &Snapshot,
        text: &HeadText,
        frames: &FramesOf<'_>,
        out: &mut dyn Write,
    ) -> io::Result<u64> {
        // All without a fixed size is cut to fit.
        let head_len = head::write(snapshot, text, &mut self.head).ok_or(io::ErrorKind::InvalidData)?;
        out.write_all(&self.head[..head_len])?;
        self.compress.reset();
        let mut body = Body {
            compress: &mut self.compress,
            plain: &mut self.plain,
            filled: 0,
            packed: &mut self.packed,
            crc: Crc::new(),
            out,
            packed_len: 0,
        };
        body.mappings(&snapshot.mappings)?;
        body.told_apart(&snapshot.told_apart)?;
        let weights = snapshot.cohorts.weights();
        body.begin(section::WEIGHTS, weights.len())?;
        weights.iter().try_for_each(|sums| body.sums(sums))?;
        body.block(section::COHORTS, snapshot.cohorts.bytes())?;
        body.block(section::TOTALS, snapshot.totals.bytes())?;
        body.stacks(snapshot, frames, &mut self.frames)?;
        body.put(&[section::END])?;
        let (packed_len, plain_len, crc) = body.finish()?;
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..8].copy_from_slice(&packed_len.to_le_bytes());
        trailer[8..16].copy_from_slice(&plain_len.to_le_bytes());
        trailer[16..20].copy_from_slice(&crc.to_le_bytes());
        trailer[20..28].copy_from_slice(&END_MAGIC);
        let crc = head::crc(&trailer[..28]);
        trailer[28..].copy_from_slice(&crc.to_le_bytes());
        out.write_all(&trailer)?;
        Ok(head_len as u64 + packed_len + TRAILER_BYTES as u64)
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

struct Body<'p> {
    compress: &'p mut Compress,
    plain: &'p mut [u8],
    filled: usize,
    packed: &'p mut [u8],
    crc: Crc,
    out: &'p mut dyn Write,
    packed_len: u64,
}

impl Body<'_> {
    fn mappings(&mut self, mappings: &[Mapping]) -> io::Result<()> {
        self.begin(section::MAPPINGS, mappings.len())?;
        for mapping in mappings {
            self.number(mapping.start)?;
            self.number(mapping.limit.wrapping_sub(mapping.start))?;
            self.number(mapping.file_offset)?;
            self.bytes(mapping.path.as_bytes())?;
            self.bytes(mapping.build_id.as_ref().map_or(&[], |id| &id.0))?;
        }
        Ok(())
    }

    fn told_apart(&mut self, epochs: &[u32]) -> io::Result<()> {
        self.begin(section::TOLD_APART, epochs.len())?;
        epochs.iter().try_for_each(|epoch| self.number((*epoch).into()))
    }

    /// Each stack that holds or ever allocated something: its number as the step from the last one and one more, how many
    /// frames it shares with the last one from the root on, how many others it has, and these as steps from frame to frame.
    fn stacks(
        &mut self,
        snapshot: &Snapshot,
        frames: &FramesOf<'_>,
        [last, this]: &mut [Box<[u64]>; 2],
    ) -> io::Result<()> {
        self.put(&[section::STACKS])?;
        let mut alive = snapshot.cohorts.rows().map(|row| row.stack).peekable();
        let mut totals = snapshot.totals.iter().map(|totals| totals.stack).peekable();
        let (mut previous, mut last_len) = (None::<u32>, 0);
        while let Some(stack) = alive.peek().into_iter().chain(totals.peek()).copied().min() {
            while alive.next_if_eq(&stack).is_some() {}
            while totals.next_if_eq(&stack).is_some() {}
            let mut len = 0;
            frames(stack, &mut |frame| {
                if let Some(room) = this.get_mut(len) {
                    *room = frame.0;
                    len += 1;
                }
            });
            this[..len].reverse();
            let shared = last[..last_len].iter().zip(&this[..len]).take_while(|(last, this)| last == this).count();
            let step = stack.wrapping_sub(previous.unwrap_or(0));
            self.number(u64::from(step) + u64::from(previous.is_none()))?;
            self.number(shared as u64)?;
            self.number((len - shared) as u64)?;
            let mut before = shared.checked_sub(1).map_or(0, |at| this[at]);
            for &frame in &this[shared..len] {
                self.number(zigzag(frame.wrapping_sub(before)))?;
                before = frame;
            }
            std::mem::swap(last, this);
            (previous, last_len) = (Some(stack), len);
        }
        self.number(0)
    }

    fn begin(&mut self, section: u8, count: usize) -> io::Result<()> {
        self.put(&[section])?;
        self.number(count as u64)
    }

    fn block(&mut self, section: u8, bytes: &[u8]) -> io::Result<()> {
        self.put(&[section])?;
        self.bytes(bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len() as u64)?;
        self.put(bytes)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.number(sums.objects)?;
        self.number(sums.bytes)?;
        [sums.estimated_objects, sums.estimated_bytes, sums.variance_objects, sums.variance_bytes]
            .into_iter()
            .try_for_each(|figure| self.put(&figure.to_bits().to_le_bytes()))
    }

    fn number(&mut self, mut number: u64) -> io::Result<()> {
        let mut bytes = [0; 10];
        let mut len = 0;
        loop {
            let low = number as u8 & 0x7f;
            number >>= 7;
            bytes[len] = low | u8::from(number > 0) << 7;
            len += 1;
            if number == 0 {
                return self.put(&bytes[..len]);
            }
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = &mut self.plain[self.filled..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == self.plain.len() {
                self.pack(FlushCompress::None)?;
            }
        }
        Ok(())
    }

    /// Compresses what is in the buffer, and at the end all that is left.
    fn pack(&mut self, flush: FlushCompress) -> io::Result<()> {
        let plain = &self.plain[..self.filled];
        let mut taken = 0;
        loop {
            let (before_in, before_out) = (self.compress.total_in(), self.compress.total_out());
            let status = self.compress.compress(&plain[taken..], self.packed, flush);
            let status = status.map_err(|_| io::ErrorKind::InvalidData)?;
            taken += (self.compress.total_in() - before_in) as usize;
            let made = (self.compress.total_out() - before_out) as usize;
            self.crc.update(&self.packed[..made]);
            self.out.write_all(&self.packed[..made])?;
            self.packed_len += made as u64;
            let is_done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => taken == plain.len(),
            };
            if is_done {
                self.filled = 0;
                return Ok(());
            }
            if made == 0 && self.compress.total_in() == before_in {
                // Cannot be: there is room and there is something to do.
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// Packed and unpacked length, and the checksum of the packed.
    fn finish(mut self) -> io::Result<(u64, u64, u32)> {
        self.pack(FlushCompress::Finish)?;
        Ok((self.packed_len, self.compress.total_in(), self.crc.sum()))
    }
}
