//! Why a snapshot does not show everything.

use std::fmt;

/// Why a snapshot does not show everything: one reason, or several.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Partial(u8);

impl Partial {
    /// Sampling was switched off for a while. Objects allocated meanwhile are missing, and so are some that were
    /// reallocated in place: jemalloc tells their free and not their new life.
    pub(crate) const PAUSED: Self = Self(1);
    /// Sampling was on before the hooks were in place: objects from before are missing.
    pub(crate) const EARLY: Self = Self(2);
    /// Threads are sampled only where they ask for it (`prof_thread_active_init:false`).
    pub(crate) const SOME_THREADS: Self = Self(4);
    /// Somebody reset jemalloc's profiler to another sample interval: samples of both are scaled by the first.
    pub(crate) const INTERVAL_CHANGED: Self = Self(8);

    /// Each reason in words, those that spoil the most first.
    const WORDS: [(Self, &'static str); 4] = [
        (Self::INTERVAL_CHANGED, "jemalloc's sample interval was changed while heapward ran: estimates are wrong"),
        (
            Self::SOME_THREADS,
            "only threads that ask for it are sampled (prof_thread_active_init:false in MALLOC_CONF or malloc_conf)",
        ),
        (Self::EARLY, "sampling was active before heapward started: older objects are missing"),
        (Self::PAUSED, "sampling was paused: objects allocated or reallocated meanwhile may be missing"),
    ];

    /// The reasons that [`Partial::bits`] stands for; none when there is none.
    pub(crate) fn of_bits(bits: u8) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `reasons` are among these.
    pub(crate) fn has(self, reasons: Self) -> bool {
        self.0 & reasons.0 == reasons.0
    }

    /// All reasons in words, always in the same order.
    pub(crate) fn reasons(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().filter(move |(reason, _)| self.has(*reason)).map(|(_, words)| words)
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, reason) in self.reasons().enumerate() {
            f.write_str(if at == 0 { "" } else { "; " })?;
            f.write_str(reason)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partial({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_told_in_one_order() {
        let bits = |reasons: &[Partial]| reasons.iter().fold(0, |bits, reason| bits | reason.bits());
        let words = |reasons: &[Partial]| Partial::of_bits(bits(reasons)).map(|partial| partial.to_string());
        assert_eq!(words(&[]), None);
        let all = [Partial::PAUSED, Partial::EARLY, Partial::SOME_THREADS, Partial::INTERVAL_CHANGED];
        assert_eq!(bits(&all).count_ones(), 4, "each is a bit of its own");
        for one in all {
            let alone = words(&[one]).unwrap();
            assert!(!alone.contains("; "), "{alone}");
            assert!(words(&all).unwrap().contains(&alone));
        }
        // Whichever came last.
        let (one, other) = (Partial::PAUSED, Partial::INTERVAL_CHANGED);
        let both = words(&[one, other]).unwrap();
        assert_eq!(Some(&both), words(&[other, one]).as_ref());
        assert!(both.starts_with("jemalloc's sample interval was changed") && both.contains("; sampling was paused"));
        assert!(Partial::of_bits(bits(&all)).unwrap().has(Partial::EARLY) && !one.has(Partial::EARLY));
    }
}
