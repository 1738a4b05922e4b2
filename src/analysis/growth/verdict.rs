//! A judgement in words.

use std::fmt;

use super::{Fact, Judgement, Shape, units};
use crate::profile::Interval;

/// What a judgement says to a person, and how long there is left.
///
/// "Now" is the last snapshot: times are counted back from it.
#[derive(Clone, Debug)]
pub(crate) struct Verdict<'a> {
    judgement: &'a Judgement,
    is_accused: bool,
    headroom: Option<f64>,
    is_of_all: bool,
}

impl<'a> Verdict<'a> {
    /// `is_accused` as `accuse` found among all sites; `headroom` in bytes to the memory limit, where one is known.
    pub(crate) fn new(judgement: &'a Judgement, is_accused: bool, headroom: Option<u64>) -> Self {
        Self { judgement, is_accused, headroom: headroom.map(|bytes| bytes as f64), is_of_all: false }
    }

    /// Of all sites taken together, judged alone.
    pub(crate) fn of_all(judgement: &'a Judgement, is_accused: bool) -> Self {
        Self { is_of_all: true, ..Self::new(judgement, is_accused, None) }
    }

    /// Seconds until the limit is reached at this rate; `None` for who is not accused, where headroom or rate are
    /// unknown, and where the rate may be zero.
    pub(crate) fn seconds_to_limit(&self) -> Option<f64> {
        let rate = self.judgement.rate.filter(|rate| self.is_accused && rate.low > 0.0)?;
        Some(self.headroom? / rate.estimate)
    }

    fn accusation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement { growth, rate, seconds, alive_share, .. } = self.judgement;
        f.write_str("grows without bound: ")?;
        match rate.filter(|rate| rate.low > 0.0) {
            Some(rate) => write!(f, "{}", units::rate(rate.estimate, margin(&rate)))?,
            None => write!(f, "{}", units::change(growth.estimate, margin(growth)))?,
        }
        write!(f, " over {}", units::time(*seconds))?;
        match self.judgement.fact {
            Fact::Staircase { steps } => write!(f, ", one buffer that was replaced by a larger one {steps} times")?,
            _ => {
                if let Some(share) = alive_share {
                    write!(f, ", {} of what it allocated since is still alive", percent(*share))?;
                }
            }
        }
        match self.seconds_to_limit() {
            Some(seconds) => write!(f, "; {}", until_limit(seconds)),
            None => Ok(()),
        }
    }

    fn acquittal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement { growth, detection_limit, seconds, .. } = self.judgement;
        let change = |interval: &Interval| units::change(interval.estimate, margin(interval));
        if let Fact::Hindered(why) = self.judgement.fact {
            return write!(f, "cannot be judged: {why}");
        }
        f.write_str("not accused: ")?;
        match self.judgement.fact {
            Fact::Stopped { grew, ago, since } => {
                let what = match self.judgement.shape {
                    Shape::WarmUp => "warmed up and stays",
                    Shape::Step => "rose and stays",
                    _ => "filled up and stopped",
                };
                let (grew, ago) = (units::size(grew), units::time(ago));
                write!(f, "{what}: +{grew} until {ago} ago, {} since", change(&since))
            }
            Fact::OneEpoch { grew, ago } => {
                let (grew, ago) = (units::size(grew), units::time(ago));
                write!(f, "rose at once: +{grew} in the interval that ended {ago} ago, and little besides")
            }
            Fact::FellBack { fell, above } => {
                let (fell, above) = (units::size(fell), units::size(above));
                write!(f, "goes up and down: gave back {fell}, down to within {above} of its floor")
            }
            Fact::Young { old, age } => {
                let age = units::time(age);
                write!(f, "what it holds is young: what is older than {age} grew by {} only", change(&old))
            }
            Fact::TooShort { usual } => {
                let (usual, seconds) = (units::time(usual), units::time(*seconds));
                write!(
                    f,
                    "grew by {} over {seconds}, but what it frees has lived {usual}: too early to tell",
                    change(growth)
                )
            }
            Fact::Shrank => write!(f, "shrank: {} over {}", change(growth), units::time(*seconds)),
            Fact::NoGrowth => write!(f, "holds as much as before: {} over {}", change(growth), units::time(*seconds)),
            Fact::Undecided { recent, seconds } => {
                let time = units::time(seconds);
                write!(f, "grew, but the last {time} cannot say whether it goes on: {}", change(&recent))
            }
            Fact::FewSnapshots { snapshots, least } => {
                write!(f, "too few snapshots to tell: {snapshots}, and it takes {least}")
            }
            Fact::BelowLimit => {
                let limit = units::size(*detection_limit);
                write!(f, "too small to tell: {}; from about {limit} on it would show", change(growth))
            }
            Fact::Hindered(why) => write!(f, "{why}"),
            Fact::StillGrowing { .. } | Fact::Staircase { .. } if self.is_of_all => {
                write!(f, "grows, by {}, but that can be chance of sampling", change(growth))
            }
            Fact::StillGrowing { .. } | Fact::Staircase { .. } => {
                write!(f, "grows, by {}, but among so many sites that can be chance", change(growth))
            }
        }
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_accused { self.accusation(f) } else { self.acquittal(f) }
    }
}

/// How long it takes to the memory limit.
pub(crate) fn until_limit(seconds: f64) -> String {
    match seconds {
        _ if seconds > YEAR => "reaches the limit in more than a year".to_owned(),
        _ if seconds > 0.0 => format!("reaches the limit in about {}", units::time(seconds)),
        _ => "the limit is reached".to_owned(),
    }
}

/// Nobody knows what is in a year, in seconds.
const YEAR: f64 = 365.0 * 86_400.0;

/// Half of the width.
fn margin(interval: &Interval) -> f64 {
    (interval.high - interval.low) / 2.0
}

/// Never 100% of what is not all.
fn percent(share: f64) -> String {
    format!("{}%", (share * 100.0).floor())
}
