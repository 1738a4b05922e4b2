//! What grew from round to round.

use std::fmt;

use crate::analysis::{Leaks, Suspect};
use crate::profile::Interval;
use crate::profiler::Story;

/// Memory that grew from round to round: what [`assert_no_growth!`](crate::assert_no_growth!) panics with.
#[derive(Clone, Debug)]
pub struct Growth {
    rounds: usize,
    /// Epochs of rounds.
    epochs: usize,
    suspects: Vec<Suspect>,
    comments: Vec<String>,
}

impl Growth {
    pub(super) fn of(story: &Story, rounds: usize) -> Option<Self> {
        let Leaks { suspects, .. } = story.leaks();
        let comments = story.comments().to_vec();
        (!suspects.is_empty()).then(|| Self { rounds, epochs: story.moments().len(), suspects, comments })
    }

    /// The functions where memory grows, the most certain growth first; each with its growth in bytes, as the lower
    /// bound, the estimate and the upper bound of a 95% interval.
    pub fn sites(&self) -> impl Iterator<Item = (&str, [f64; 3])> {
        self.suspects.iter().map(|suspect| {
            let Interval { estimate, low, high } = suspect.judgement.growth;
            (suspect.site.function.as_str(), [low, estimate, high])
        })
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory grows from round to round:")?;
        for suspect in &self.suspects {
            let judgement = &suspect.judgement;
            let first = self.rounds * (judgement.start + 1) / self.epochs.max(1);
            let rounds = self.rounds.saturating_sub(first).max(1);
            let a_round = judgement.growth.estimate / rounds as f64;
            writeln!(
                f,
                "{} in {rounds} of {} rounds, {a_round:.0} bytes a round, at {}",
                judgement.growth.signed_bytes(),
                self.rounds,
                suspect.site
            )?;
            if let Some(caller) = &suspect.called_from {
                writeln!(f, "  called from {}", caller)?;
            }
            writeln!(f, "  {:.0}% of it by this stack:", 100.0 * suspect.stack_share)?;
            for line in suspect.stack_lines() {
                writeln!(f, "    {line}")?;
            }
        }
        for comment in &self.comments {
            writeln!(f, "{comment}")?;
        }
        Ok(())
    }
}
