//! What looking names up may cost: pages in memory, and time.

use std::time::{Duration, Instant};

use crate::system::MappedFile;

/// How much of a file is read until its pages are given back: half of what all of it may take.
const RELEASE_EVERY: usize = 12 << 20;

/// How much is read between two looks at the clock.
const CLOCK_EVERY: usize = 1 << 20;

/// What one byte that is read somewhere else brings into memory at most. Where the page cache has large pages, as of a
/// file that was just written, that is such a page: seen on Linux 6.18, whatever `madvise` was told. Elsewhere it is
/// `fault_around_bytes`, 64 KiB.
pub(super) const AROUND: usize = 2 << 20;

/// Why reading ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The time is up.
    Late,
    /// What was read is not what its format says.
    Damaged,
}

impl From<gimli::Error> for Stop {
    fn from(_: gimli::Error) -> Self {
        Self::Damaged
    }
}

/// Result of reading.
pub(super) type Read<T> = Result<T, Stop>;

/// When to end, whatever is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    fn check(self) -> Read<()> {
        if Instant::now() < self.0 { Ok(()) } else { Err(Stop::Late) }
    }
}

/// Counts what is read of one file, gives its pages back now and then, and ends what takes too long.
#[derive(Debug)]
pub(super) struct Meter<'f> {
    file: &'f MappedFile,
    deadline: Deadline,
    unreleased: usize,
    unclocked: usize,
}

impl<'f> Meter<'f> {
    pub(super) fn new(file: &'f MappedFile, deadline: Deadline) -> Self {
        Self { file, deadline, unreleased: 0, unclocked: 0 }
    }

    /// Notes that about `bytes` were read, or that as much work was done.
    pub(super) fn spend(&mut self, bytes: usize) -> Read<()> {
        self.unreleased += bytes;
        if self.unreleased >= RELEASE_EVERY {
            self.release();
        }
        self.unclocked += bytes;
        if self.unclocked >= CLOCK_EVERY {
            self.unclocked = 0;
            self.deadline.check()?;
        }
        Ok(())
    }

    /// Gives the file's pages back.
    pub(super) fn release(&mut self) {
        self.unreleased = 0;
        self.file.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_looked_at_now_and_then() {
        let file = MappedFile::open(&std::env::current_exe().unwrap()).unwrap();
        let mut late = Meter::new(&file, Deadline::after(Duration::ZERO));
        assert_eq!(late.spend(CLOCK_EVERY - 1), Ok(()));
        assert_eq!(late.spend(1), Err(Stop::Late));
        let mut early = Meter::new(&file, Deadline::after(Duration::from_secs(3600)));
        assert_eq!(early.spend(CLOCK_EVERY), Ok(()));
    }
}
