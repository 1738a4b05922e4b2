//! When to try again.

use std::time::Duration;

/// When to try again after an attempt that failed: after twice as long each time, up to a bound, until so much time has passed
/// since the first. Without a random part: there is one sender, and what is sent is one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// The first pause.
    pub(super) first: Duration,
    /// The longest.
    pub(super) longest: Duration,
    /// From the first attempt to the last.
    pub(super) total: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let second = Duration::from_secs;
        Self { first: second(1), longest: second(60), total: second(600) }
    }
}

impl Schedule {
    /// The pause after so many failures, `spent` after the first attempt began; `None` to give up.
    pub(super) fn pause(&self, failures: u32, spent: Duration) -> Option<Duration> {
        let doublings = failures.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        (spent.saturating_add(pause) <= self.total).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_end() {
        let schedule = Schedule::default();
        let mut spent = Duration::ZERO;
        let mut pauses = Vec::new();
        while let Some(pause) = schedule.pause(pauses.len() as u32 + 1, spent) {
            pauses.push(pause.as_secs());
            spent += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60, 60]);
        assert!(spent <= schedule.total);
        // An attempt that takes long counts too.
        assert_eq!(schedule.pause(1, Duration::from_secs(599)), Some(Duration::from_secs(1)));
        assert_eq!(schedule.pause(1, Duration::from_millis(599_001)), None);
        assert_eq!(schedule.pause(u32::MAX, Duration::ZERO), Some(Duration::from_secs(60)));
        assert_eq!(schedule.pause(u32::MAX, Duration::MAX), None);
    }
}
