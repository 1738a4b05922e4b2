//! The figures of one row.

use crate::analysis::Change;
use crate::profile::{Interval, Measure, SampleInterval, Sums};

/// An estimated amount of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amount {
    /// Samples that it rests on.
    pub samples: u64,
    /// Bytes.
    pub bytes: Interval,
    /// Objects.
    pub objects: Interval,
}

impl Amount {
    pub(crate) fn of(sums: &Sums) -> Self {
        Self { samples: sums.objects, bytes: sums.bytes_interval(), objects: sums.objects_interval() }
    }

    /// Born − freed.
    pub(crate) fn net(change: &Change, interval: SampleInterval) -> Self {
        let net = |measure| Interval::of_change(&change.born, &change.freed, interval, measure);
        Self {
            samples: change.born.objects + change.freed.objects,
            bytes: net(Measure::Bytes),
            objects: net(Measure::Objects),
        }
    }
}

/// What happened to the objects of some stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Born − freed; what survived cancels exactly.
    pub net: Amount,
    /// Born since the base and alive later.
    pub born: Amount,
    /// Alive at the base and freed since.
    pub freed: Amount,
    /// Alive at both moments.
    pub survived: Amount,
    /// Alive at the base.
    pub before: Amount,
    /// Alive later.
    pub after: Amount,
    /// What was allocated in between, freed already or not; `None` where that is not known.
    pub allocated: Option<Allocated>,
}

/// What was allocated in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocated {
    /// Estimated objects.
    pub objects: u64,
    /// Estimated bytes.
    pub bytes: u64,
}

impl Figures {
    pub(crate) fn of(change: &Change, interval: SampleInterval) -> Self {
        Self {
            net: Amount::net(change, interval),
            born: Amount::of(&change.born),
            freed: Amount::of(&change.freed),
            survived: Amount::of(&change.survived),
            before: Amount::of(&change.before()),
            after: Amount::of(&change.after()),
            allocated: Some(Allocated { objects: change.allocated_objects, bytes: change.allocated_bytes }),
        }
    }
}
