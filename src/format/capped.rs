//! A text that is made for one answer, and may not become as large as the heap that it tells of.

use std::io;

use crate::error::{Error, Result};

/// The largest text: more than browsers draw.
const MOST_BYTES: usize = 32 << 20;

/// Bytes in memory, up to [`MOST_BYTES`].
#[derive(Debug)]
pub(crate) struct Capped {
    bytes: Vec<u8>,
    most: usize,
    overflowed: bool,
    /// What makes it smaller.
    advice: &'static str,
}

impl Capped {
    /// None yet. `advice`: what to do where it is too much.
    pub(crate) fn new(advice: &'static str) -> Self {
        Self { bytes: Vec::new(), most: MOST_BYTES, overflowed: false, advice }
    }

    /// What was written, if `written` is well.
    ///
    /// # Errors
    ///
    /// That of `written`; [`ErrorKind::Config`](crate::ErrorKind::Config) when it was too much.
    pub(crate) fn finish(self, written: Result<()>) -> Result<Vec<u8>> {
        if self.overflowed {
            let most = self.most >> 20;
            return Err(Error::config(format!("the answer is larger than {most} MiB: {}", self.advice)));
        }
        written.map(|()| self.bytes)
    }
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            self.overflowed = true;
            return Err(io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn more_than_that_is_refused_and_less_is_whole() {
        let written = |parts: &[&[u8]]| {
            let mut capped = Capped { most: 5, ..Capped::new("ask for less") };
            let written = parts.iter().try_for_each(|part| capped.write_all(part));
            let finished = capped.finish(written.map_err(|error| Error::io("writing", error)));
            finished.map_err(|error| error.to_string())
        };
        assert_eq!(written(&[b"abc", b"de"]), Ok(b"abcde".to_vec()));
        let refused = "the answer is larger than 0 MiB: ask for less";
        assert_eq!(written(&[b"abc", b"def"]), Err(refused.to_owned()));
    }
}
