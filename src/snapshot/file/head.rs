//! What a file says of its snapshot without being unpacked.

use std::fmt;
use std::time::{Duration, SystemTime};

use flate2::Crc;

use super::fields::{Put, Take};
use super::{MAGIC, MOST_HEAD_BYTES, PREFIX_BYTES, VERSION};
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{BuildId, Gaps, Partial, Reading, Sums, Totals};
use crate::snapshot::{RunId, Snapshot};

/// What is the same for all files of a run.
#[derive(Clone, Debug)]
pub(crate) struct HeadText {
    /// The run.
    pub(crate) run: RunId,
    /// The program's file.
    pub(crate) program: String,
    /// Its build id, if it has one.
    pub(crate) build_id: Option<BuildId>,
    /// Mean bytes between two samples.
    pub(crate) sample_interval: u64,
    /// Whether births and allocations are known: not from jemalloc's dumps.
    pub(crate) has_birthdays: bool,
}

/// What a file says of its snapshot without being unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Of the run.
    pub(crate) text: HeadText,
    /// heapward's version that wrote it.
    pub(crate) version: String,
    pub(crate) id: u64,
    pub(crate) time: SystemTime,
    /// Why it was taken, in one word.
    pub(crate) reason: String,
    /// The same in a sentence.
    pub(crate) why: String,
    pub(crate) reading: Reading,
    pub(crate) epoch: u32,
    pub(crate) live: Sums,
    pub(crate) small: Sums,
    pub(crate) allocated: Totals,
    pub(crate) stacks: u64,
    pub(crate) tables_bytes: u64,
    pub(crate) gaps: Gaps,
    pub(crate) dropped_stacks: u64,
    pub(crate) duration: Duration,
    pub(crate) partial: Option<Partial>,
    /// The rise that it belongs to, by its number in that run.
    pub(crate) episode: Option<u64>,
}

const MOST_REASON: u16 = 64;
const MOST_WHY: u16 = 600;
const MOST_PATH: u16 = 1024;
const MOST_VERSION: u16 = 64;

/// Writes the head of `snapshot`, with what is around it. `None` when it does not fit, which it always does: all that has no
/// fixed size is cut.
pub(super) fn write(snapshot: &Snapshot, text: &HeadText, buffer: &mut [u8; MOST_HEAD_BYTES]) -> Option<usize> {
    let mut put = Put::new(buffer);
    put.bytes_of(&MAGIC);
    put.u32(VERSION);
    put.u32(0);
    put.u32(text.run.number);
    put.u32(text.run.random);
    put.text(MOST_PATH, &text.program);
    put.short(text.build_id.as_ref().map_or(&[], |id| &id.0));
    put.u64(text.sample_interval);
    put.byte(text.has_birthdays.into());
    put.text(MOST_VERSION, env!("CARGO_PKG_VERSION"));
    put.u64(snapshot.id);
    put.time(snapshot.time);
    put.text(MOST_REASON, snapshot.reason.name());
    put.text(MOST_WHY, snapshot.reason);
    put.reading(&snapshot.reading);
    put.u32(snapshot.epoch);
    put.sums(&snapshot.live);
    put.sums(&snapshot.whole.small);
    let of = &snapshot.whole.allocated;
    [of.objects, of.bytes, of.estimated_objects, of.estimated_bytes, of.freed_lifetimes_millis]
        .into_iter()
        .for_each(|figure| put.u64(figure));
    put.u64(snapshot.whole.stacks as u64);
    put.u64(snapshot.tables_bytes);
    let gaps = &snapshot.gaps;
    [gaps.dropped_objects, gaps.dropped_bytes, gaps.pauses, gaps.rescales]
        .into_iter()
        .for_each(|figure| put.u64(figure));
    put.u64(snapshot.dropped_stacks);
    put.duration(snapshot.duration);
    put.byte(snapshot.partial.map_or(0, Partial::bits));
    put.optional(snapshot.episode);
    let end = put.written()?;
    let len = (end - PREFIX_BYTES) as u32;
    buffer[12..PREFIX_BYTES].copy_from_slice(&len.to_le_bytes());
    let crc = crc(&buffer[..end]);
    buffer.get_mut(end..end + 4)?.copy_from_slice(&crc.to_le_bytes());
    Some(end + 4)
}

/// The head at the start of `bytes`, and where it ends with its checksum.
pub(super) fn read(bytes: &[u8]) -> Result<(Head, usize)> {
    let mut take = Take::new(bytes, 0);
    if take.bytes_of(8)? != MAGIC {
        return Err(Error::malformed("at byte 0: this is no snapshot of heapward's"));
    }
    match take.u32()? {
        VERSION => {}
        other => {
            let message = format!("at byte 8: format version {other}, and this heapward reads version {VERSION} alone");
            let kind = if other > VERSION { ErrorKind::NewerFormat } else { ErrorKind::Malformed };
            return Err(Error::new(kind, message));
        }
    }
    let len = take.u32()? as usize;
    let end = PREFIX_BYTES + len;
    if end + 4 > MOST_HEAD_BYTES {
        let message = format!("at byte 12: a head of {len} bytes, and at most {MOST_HEAD_BYTES} are allowed");
        return Err(Error::malformed(message));
    }
    let head = bytes.get(..end + 4).ok_or_else(|| missing(bytes.len()))?;
    let (head, sum) = head.split_at(end);
    if crc(head).to_le_bytes() != sum {
        return Err(Error::malformed(format!("at byte {end}: the checksum of the head is wrong")));
    }
    let mut take = Take::new(&head[PREFIX_BYTES..], PREFIX_BYTES);
    let text = HeadText {
        run: RunId { number: take.u32()?, random: take.u32()? },
        program: take.text()?,
        build_id: Some(take.short()?).filter(|id| !id.is_empty()).map(|id| BuildId(id.into())),
        sample_interval: take.u64()?,
        has_birthdays: take.flag()?,
    };
    let head = Head {
        text,
        version: take.text()?,
        id: take.u64()?,
        time: take.time()?,
        reason: take.text()?,
        why: take.text()?,
        reading: take.reading()?,
        epoch: take.u32()?,
        live: take.sums()?,
        small: take.sums()?,
        allocated: Totals {
            stack: 0,
            objects: take.u64()?,
            bytes: take.u64()?,
            estimated_objects: take.u64()?,
            estimated_bytes: take.u64()?,
            freed_lifetimes_millis: take.u64()?,
        },
        stacks: take.u64()?,
        tables_bytes: take.u64()?,
        gaps: Gaps {
            dropped_objects: take.u64()?,
            dropped_bytes: take.u64()?,
            pauses: take.u64()?,
            rescales: take.u64()?,
        },
        dropped_stacks: take.u64()?,
        duration: take.duration()?,
        partial: Partial::of_bits(take.byte()?),
        episode: take.optional()?,
    };
    Ok((head, end + 4))
}

fn missing(at: usize) -> Error {
    Error::malformed(format!("at byte {at}: the file ends within its head"))
}

/// CRC-32, as gzip's.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

impl fmt::Display for HeadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.run)
    }
}
