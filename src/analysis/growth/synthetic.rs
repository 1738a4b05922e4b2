//! Synthetic histories of sites, with what is true of them.
//!
//! Only sampled objects are simulated: where objects of Z bytes are born at λ a second, sampled ones are born at λ·p, each
//! with a lifetime of its own.

mod clock;
mod healthy;
mod leaks;
mod random;
mod scene;

use super::Judgement;
use crate::analysis::{Point, Series};
use crate::profile::SampleInterval;
pub(crate) use clock::Clock;
pub(crate) use random::Random;
use scene::{Object, Scene};

/// What a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    SteadyLeak,
    BurstLeak,
    LeakUnderChurn,
    LateLeak,
    LeakOnWarmUp,
    LeakOnSawtooth,
    DoublingVec,
    PartLeak,
    ShortChurn,
    LongChurn,
    FullCache,
    FullCacheNoTurnover,
    WarmUp,
    Batch,
    DayAndNight,
    Arena,
    StepUp,
    Shrinking,
    Queue,
    LargeObject,
    TooSmall,
    /// No leak, and not yet seen to be none: a cache that is full late in the history, or after it. Among neither
    /// [`LEAKS`] nor [`HEALTHY`].
    LateCache,
}

pub(crate) const LEAKS: [Kind; 8] = [
    Kind::SteadyLeak,
    Kind::BurstLeak,
    Kind::LeakUnderChurn,
    Kind::LateLeak,
    Kind::LeakOnWarmUp,
    Kind::LeakOnSawtooth,
    Kind::DoublingVec,
    Kind::PartLeak,
];

pub(crate) const HEALTHY: [Kind; 13] = [
    Kind::ShortChurn,
    Kind::LongChurn,
    Kind::FullCache,
    Kind::FullCacheNoTurnover,
    Kind::WarmUp,
    Kind::Batch,
    Kind::DayAndNight,
    Kind::Arena,
    Kind::StepUp,
    Kind::Shrinking,
    Kind::Queue,
    Kind::LargeObject,
    Kind::TooSmall,
];

/// One site's history and what is true of it.
pub(crate) struct History {
    pub(crate) kind: Kind,
    pub(crate) interval: SampleInterval,
    pub(crate) series: Series,
    /// When what is never freed was allocated: (from, to, bytes a second).
    leak: Option<(f64, f64, f64)>,
}

impl History {
    /// Bytes leaked from `start` to the last snapshot.
    pub(crate) fn leaked(&self, start: usize) -> f64 {
        let (begin, end) = (self.series.seconds[start], *self.series.seconds.last().unwrap());
        self.leak.map_or(0.0, |(from, to, rate)| (to.min(end) - from.max(begin)).max(0.0) * rate)
    }

    /// The first snapshot, in seconds, that has all that the last one has.
    pub(crate) fn last_birth(&self) -> f64 {
        let last = self.series.points.last().and_then(|point| point.cohorts.iter().rposition(|born| born.objects > 0));
        self.series.seconds[last.unwrap_or(0)]
    }

    /// Whether so much leaked in the judged window that it has to be found: more than twice the detection limit.
    ///
    /// One buffer that doubles has no limit of that kind: what can be seen of it are its steps, and it takes three.
    pub(crate) fn is_large_leak(&self, judgement: &Judgement) -> bool {
        let leaked = self.leaked(judgement.start);
        if self.kind != Kind::DoublingVec {
            return leaked > 2.0 * judgement.detection_limit;
        }
        let level = |point: &Point| point.cohorts.iter().map(|cohort| cohort.estimated_bytes).sum::<f64>();
        let seen: Vec<f64> = self.series.points.iter().map(level).filter(|level| *level > 0.0).collect();
        let steps = seen.windows(2).filter(|pair| pair[1] > 1.5 * pair[0]).count();
        steps >= 3 && leaked > 18.0 * self.interval.bytes() as f64
    }
}

/// A history of a kind.
pub(crate) fn history(kind: Kind, random: &mut Random, clock: &Clock) -> History {
    let mut scene = Scene { random, clock, objects: Vec::new() };
    let leak = scene.leak(kind);
    if leak.is_none() {
        scene.healthy(kind);
    }
    History { kind, interval: clock.interval, series: scene.series(), leak }
}

/// The series of sampled objects of (seconds of birth, seconds of death, bytes).
pub(crate) fn series(clock: &Clock, objects: &[(f64, f64, u64)]) -> Series {
    let objects = objects.iter().map(|&(born, freed, bytes)| Object { born, freed, bytes }).collect();
    Scene { random: &mut Random::new(0), clock, objects }.series()
}
