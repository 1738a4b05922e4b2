//! What a check came to.

use std::fmt;

use super::{Growth, limit};
use crate::profile::ByteSize;
use crate::profiler::Story;

/// What [`check_growth`](super::check_growth) saw, and what it could not have seen. Prints both.
#[derive(Clone, Debug)]
pub struct GrowthCheck {
    rounds: usize,
    sample_interval: u64,
    growth: Option<Growth>,
}

impl GrowthCheck {
    pub(super) fn of(story: &Story, rounds: usize) -> Self {
        let sample_interval = story.interval().bytes();
        Self { rounds, sample_interval, growth: Growth::of(story, rounds) }
    }

    /// What grew without bound.
    pub fn growth(&self) -> Option<&Growth> {
        self.growth.as_ref()
    }

    /// What grew without bound.
    pub fn into_growth(self) -> Option<Growth> {
        self.growth
    }

    /// A leak of fewer bytes a round may have gone unseen. One of more is found, except where the same function also
    /// replaces much of what it holds: that varies by chance.
    pub fn detection_limit(&self) -> u64 {
        limit::seen_from(self.sample_interval, self.rounds)
    }
}

impl fmt::Display for GrowthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rounds;
        match &self.growth {
            None => write!(f, "no memory is seen to grow from round to round in {rounds} rounds; ")?,
            Some(growth) => write!(f, "{growth}")?,
        }
        write!(
            f,
            "a leak of less than {} bytes a round may go unseen, with one sample in {}",
            self.detection_limit(),
            ByteSize::bytes(self.sample_interval)
        )
    }
}
