//! At most one in an interval.

use std::time::Duration;

/// At most one in `interval`. Times are uptimes: they never step back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    interval: Duration,
    last: Option<Duration>,
}

impl RateLimit {
    /// The first is free at once.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, last: None }
    }

    /// How long it takes until the next is allowed; `None` when it is now.
    pub(crate) fn wait(&self, now: Duration) -> Option<Duration> {
        let left = (self.last? + self.interval).saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }

    /// Counts one as done.
    pub(crate) fn done(&mut self, now: Duration) {
        self.last = Some(now);
    }

    /// The interval.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_one_in_the_interval() {
        let second = Duration::from_secs;
        let mut limit = RateLimit::new(second(60));
        assert_eq!(limit.wait(second(0)), None);
        limit.done(second(5));
        assert_eq!(limit.wait(second(5)), Some(second(60)));
        assert_eq!(limit.wait(second(64)), Some(second(1)));
        assert_eq!(limit.wait(second(65)), None);
    }
}
