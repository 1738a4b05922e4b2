//! A bound on what answers hold that nobody has read yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::profile::ByteSize;

/// With more than this in answers that are being sent, no other is made. The last one may go beyond it.
const MOST_BYTES: usize = 64 << 20;

/// Counts what all answers hold.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerRooms {
    bytes: Arc<AtomicUsize>,
}

/// What one answer holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct AnswerRoom {
    all: AnswerRooms,
    bytes: usize,
}

impl AnswerRooms {
    /// What all answers hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Room for one more answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] while clients have too much to read.
    pub(super) fn one(&self) -> Result<AnswerRoom> {
        let bytes = self.bytes();
        if bytes >= MOST_BYTES {
            let bytes = ByteSize::bytes(bytes as u64);
            let message = format!("{bytes} of answers wait for their clients to read them: ask again later");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Ok(AnswerRoom { all: self.clone(), bytes: 0 })
    }
}

impl AnswerRoom {
    /// Counts `bytes` more.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for AnswerRoom {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_nobody_reads_keep_others_from_being_made() {
        let rooms = AnswerRooms::default();
        let mut held: Vec<AnswerRoom> = Vec::new();
        let refused = loop {
            match rooms.one() {
                Ok(mut room) => {
                    room.take(20 << 20);
                    held.push(room);
                }
                Err(error) => break error.to_string(),
            }
            assert!(held.len() < 100, "never refused");
        };
        assert_eq!(held.len(), 4);
        assert_eq!(refused, "80.0 MiB of answers wait for their clients to read them: ask again later");
        held.pop();
        assert!(rooms.one().is_ok(), "60 MiB leave room");
        drop(held);
        assert_eq!(rooms.bytes(), 0);
    }
}
