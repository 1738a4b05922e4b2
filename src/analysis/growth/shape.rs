//! What kind of course a site's memory took, and the fact that decided.

use super::Hindrance;
use crate::profile::Interval;

/// The course of what a site holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Grows, and nothing says that it will stop.
    Unbounded,
    /// Grew over some time and stopped: a cache that filled.
    Saturating,
    /// Grew at the start and stayed.
    WarmUp,
    /// Grew at once and stayed.
    Step,
    /// Grows, and gives it back.
    Sawtooth,
    /// Holds less than before.
    Shrinking,
    /// Holds as much as before, or what it holds is young.
    Steady,
    /// Too few snapshots, or too small to tell.
    Inconclusive,
}

/// The fact that decided for a shape. Bytes, seconds; `ago` counts back from the last snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fact {
    /// Unbounded: what has grown old, and its growth in the last `seconds`.
    StillGrowing { recent: Interval, seconds: f64 },
    /// Unbounded: one buffer, replaced by larger ones and never by a smaller.
    Staircase { steps: usize },
    /// It grew by `grew` until `ago`, and by `since` from then on.
    Stopped { grew: f64, ago: f64, since: Interval },
    /// One epoch, that ended `ago`, made most of the growth.
    OneEpoch { grew: f64, ago: f64 },
    /// It has given back as much as `fell`, and stood `above` its floor at the lowest since.
    FellBack { fell: f64, above: f64 },
    /// It grew, but what is older than `age` did not: by `old` only.
    Young { old: Interval, age: f64 },
    /// It grew, but objects here usually live `usual`, too long for the history to tell what stays.
    TooShort { usual: f64 },
    /// It shrank.
    Shrank,
    /// No growth that sampling can tell from none.
    NoGrowth,
    /// Growth that is significant, of which the last part of the window cannot say whether it goes on.
    Undecided { recent: Interval, seconds: f64 },
    /// Something keeps it from being judged.
    Hindered(Hindrance),
    /// Fewer than `least` snapshots.
    FewSnapshots { snapshots: usize, least: usize },
    /// It grew by less than could be told from chance.
    BelowLimit,
}
