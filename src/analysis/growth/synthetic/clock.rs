//! When snapshots are taken.

use super::Random;
use crate::profile::SampleInterval;

/// When the snapshots of one service were taken, and with what sample interval.
#[derive(Clone)]
pub(crate) struct Clock {
    pub(crate) interval: SampleInterval,
    pub(crate) seconds: Vec<f64>,
}

impl Clock {
    /// Four to 22 snapshots, regular or not, some with a first one that was pinned before.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let lg = [12, 16, 17, 18, 19, 19, 19, 19, 20][random.below(9)];
        let count = 4 + random.below(19);
        let spacing = [2.0, 20.0, 60.0, 60.0, 600.0][random.below(5)];
        let style = random.below(4);
        let is_old = random.chance(0.4);
        let mut seconds = vec![0.0];
        for at in 1..count {
            let step = match style {
                // Pinned long ago.
                3 if at == 1 && is_old => random.scale(10.0, 300.0),
                0 => 1.0,
                1 => random.between(0.5, 1.5),
                2 => 0.15 + random.exponential(0.85),
                // The pinned first one, and the ring.
                _ if at == 1 => random.between(1.0, 5.0),
                _ => random.between(0.95, 1.05),
            };
            seconds.push(seconds[at - 1] + spacing * step);
        }
        Self { interval: SampleInterval::from_lg(lg).unwrap(), seconds }
    }

    /// Seconds of the last.
    pub(super) fn end(&self) -> f64 {
        self.seconds[self.seconds.len() - 1]
    }
}
