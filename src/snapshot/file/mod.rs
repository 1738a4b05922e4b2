//! Snapshots as files: pure bytes. A format of our own, as profile.proto knows no cohorts.
//!
//! ```text
//! magic | version | length of the head | head | CRC-32 of all that
//! body, deflated: sections in a fixed order, each after a byte that names it
//! length of the body packed | unpacked | CRC-32 of it packed | magic of the end | CRC-32 of the trailer
//! ```
//!
//! Head and trailer are enough to list a file and to know that it is whole, without unpacking it. Numbers in them are
//! little-endian and of fixed size; those of the body are LEB128. Addresses are as they were in the run that wrote the
//! file; with its list of loaded files (build id, offset) they mean something in another run too.
//!
//! Writing allocates nothing: it may happen when there is no memory left to have.

mod decode;
mod encode;
mod fields;
mod head;
mod name;
mod stored;

#[cfg(test)]
pub(crate) use decode::decode;
pub(crate) use decode::{Trailer, decode_within, read_head};
pub(crate) use encode::Packer;
pub(crate) use fields::{Put, Take};
pub(crate) use head::{Head, HeadText, crc};
pub(crate) use name::{FileName, ReasonName};
pub(crate) use stored::{Stored, StoredStacks};

/// As PNG's: a file that was sent as text is no longer ours.
const MAGIC: [u8; 8] = *b"HWSNAP\r\n";
const END_MAGIC: [u8; 8] = *b"HWEND\r\n\0";

/// Raised whenever the bytes change their meaning.
const VERSION: u32 = 1;

/// Before the head: magic, version, length.
const PREFIX_BYTES: usize = 16;

/// The longest head, with the prefix and the checksum.
pub(crate) const MOST_HEAD_BYTES: usize = 4096;

/// The trailer.
pub(crate) const TRAILER_BYTES: usize = 32;

/// Frames of one stack: jemalloc keeps 128 at most.
const MOST_FRAMES: usize = 1024;

/// What an estimate or its variance, in bytes², may be. As many of them as there may be make a finite sum.
const FIGURES: std::ops::RangeInclusive<f64> = 0.0..=1e60;

/// What the sections of the body begin with.
mod section {
    pub(super) const MAPPINGS: u8 = 1;
    pub(super) const TOLD_APART: u8 = 2;
    pub(super) const WEIGHTS: u8 = 3;
    pub(super) const COHORTS: u8 = 4;
    pub(super) const TOTALS: u8 = 5;
    pub(super) const STACKS: u8 = 6;
    pub(super) const END: u8 = 7;
}

/// Small differences of either sign as small numbers.
fn zigzag(difference: u64) -> u64 {
    let signed = difference as i64;
    (signed << 1 ^ signed >> 63) as u64
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests;
