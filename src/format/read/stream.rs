//! The bytes of a file as a stream, inflated as they are read: the inflated form never stands in memory as a whole.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::limits::MAX_STREAM;
use crate::error::{Error, Result};

/// Bytes held at once.
const CHUNK: usize = 32 << 10;

/// What a gzip member begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file as it came. It can be streamed any number of times.
#[derive(Clone, Copy, Debug)]
pub(in crate::format) struct Input<'a> {
    bytes: &'a [u8],
    is_gzip: bool,
}

impl<'a> Input<'a> {
    pub(in crate::format) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, is_gzip: bytes.starts_with(&GZIP) }
    }

    /// The bytes that are the content as they stand; `None` when they are compressed.
    pub(super) fn plain(self) -> Option<&'a [u8]> {
        (!self.is_gzip).then_some(self.bytes)
    }

    /// From the start.
    pub(in crate::format) fn stream(self) -> Stream<'a> {
        let source: Box<dyn Read + 'a> =
            if self.is_gzip { Box::new(MultiGzDecoder::new(self.bytes)) } else { Box::new(self.bytes) };
        let chunk = vec![0; CHUNK].into();
        Stream { source, is_gzip: self.is_gzip, most: MAX_STREAM, chunk, at: 0, filled: 0, before: 0 }
    }
}

/// Content with a position in it.
pub(in crate::format) struct Stream<'a> {
    source: Box<dyn Read + 'a>,
    is_gzip: bool,
    /// Bytes of content that are allowed.
    most: u64,
    chunk: Box<[u8]>,
    /// The next byte in `chunk`.
    at: usize,
    /// Where `chunk` ends.
    filled: usize,
    /// Bytes of the content before `chunk`.
    before: u64,
}

impl Stream<'_> {
    /// How many bytes have been taken, counted after decompression.
    pub(in crate::format) fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// What is at hand, at least one byte; empty at the end of the content.
    pub(in crate::format) fn peek(&mut self) -> Result<&[u8]> {
        if self.at == self.filled {
            self.refill()?;
        }
        Ok(&self.chunk[self.at..self.filled])
    }

    /// The next byte; `None` at the end.
    pub(in crate::format) fn byte(&mut self) -> Result<Option<u8>> {
        let next = self.peek()?.first().copied();
        self.at += usize::from(next.is_some());
        Ok(next)
    }

    /// Hands the next bytes up to position `end` to `each`, in pieces. False when the content ends before.
    pub(in crate::format) fn pieces(&mut self, end: u64, mut each: impl FnMut(&[u8])) -> Result<bool> {
        while self.position() < end {
            let missing = usize::try_from(end - self.position()).unwrap_or(usize::MAX);
            let here = self.peek()?;
            if here.is_empty() {
                return Ok(false);
            }
            let piece = &here[..here.len().min(missing)];
            let taken = piece.len();
            each(piece);
            self.at += taken;
        }
        Ok(true)
    }

    fn refill(&mut self) -> Result<()> {
        self.before += self.filled as u64;
        (self.at, self.filled) = (0, 0);
        let read = loop {
            match self.source.read(&mut self.chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|error| {
            let format = if self.is_gzip { "gzip" } else { "profile" };
            Error::malformed(format!("{format}, after {} bytes of content: {error}", self.before))
        })?;
        if self.before + read as u64 > self.most {
            return Err(Error::malformed(format!(
                "profile: more than {} bytes of content, which is the most",
                self.most
            )));
        }
        self.filled = read;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn all(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let whole = Input::new(bytes).stream().pieces(u64::MAX, |piece| content.extend_from_slice(piece))?;
        assert!(!whole);
        Ok(content)
    }

    #[test]
    fn content_is_the_same_compressed_or_not_and_in_several_members() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(all(&content).unwrap(), content);
        assert_eq!(all(&gzip(&content)).unwrap(), content);
        let (a, b) = content.split_at(70_001);
        assert_eq!(all(&[gzip(a), gzip(b)].concat()).unwrap(), content);
    }

    #[test]
    fn damage_to_gzip_is_told_as_such() {
        let whole = gzip(b"some content");
        let check = |bytes: &[u8], expect: &str| {
            let error = all(bytes).unwrap_err().to_string();
            assert!(error.starts_with("gzip, after ") && error.contains(expect), "{error}");
        };
        check(&whole[..whole.len() - 3], "");
        check(&whole[..5], "");
        check(&whole[..2], "");
        check(&[&whole[..], b"tail"].concat(), "");
        let mut sum = whole.clone();
        let at = sum.len() - 8;
        sum[at] ^= 1;
        check(&sum, "checksum");
    }

    #[test]
    fn positions_count_content() {
        let bytes = gzip(&[7; 100_000]);
        let mut stream = Input::new(&bytes).stream();
        assert_eq!(stream.byte().unwrap(), Some(7));
        assert!(stream.pieces(99_999, |_| ()).unwrap());
        assert_eq!((stream.position(), stream.byte().unwrap(), stream.byte().unwrap()), (99_999, Some(7), None));
        assert!(!stream.pieces(100_001, |_| ()).unwrap());
    }

    #[test]
    fn content_has_a_bound() {
        for bytes in [gzip(&[7; 100_000]), vec![7; 100_000]] {
            let drain = |most: u64| {
                let mut stream = Input::new(&bytes).stream();
                stream.most = most;
                stream.pieces(u64::MAX, |_| ()).map_err(|error| error.to_string())
            };
            assert_eq!(drain(100_000), Ok(false));
            let message = "profile: more than 99999 bytes of content, which is the most";
            assert_eq!(drain(99_999), Err(message.to_owned()));
        }
    }
}
