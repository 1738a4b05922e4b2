//! What is no leak.

use super::Kind;
use super::scene::{Object, Scene, Sizes};

impl Scene<'_> {
    /// Plays a kind that is no leak.
    pub(super) fn healthy(&mut self, kind: Kind) {
        let end = self.clock.end();
        let r = self.r();
        // Growth or level, in samples of small objects.
        let weight = self.random.scale(5.0, 300.0);
        let total = weight * r;
        match kind {
            Kind::ShortChurn => {
                let sizes = self.sizes(total / 5.0);
                let mean = end * self.random.scale(0.005, 0.05);
                self.churn(&sizes, total.min(3000.0 * r * mean / end), mean, |_| 1.0);
            }
            Kind::LongChurn => {
                let sizes = self.sizes(total / 5.0);
                let mean = end * self.random.scale(0.05, 2.0);
                self.churn(&sizes, total, mean, |_| 1.0);
            }
            Kind::FullCache => {
                let sizes = self.sizes(total / 10.0);
                let full = end * self.random.between(0.1, 0.62);
                self.some_churn(&sizes, total);
                let begin = -self.random.unit() * full * 0.9;
                let fill = full - begin;
                let slower = self.random.between(0.3, 1.0);
                self.stay_until(&sizes, (begin, full), total, |random, time| {
                    // Evicted oldest first once full.
                    full + (time - begin) / slower * random.between(0.9, 1.1) - time
                });
                self.flow(
                    &sizes,
                    (full, end),
                    total / fill * slower,
                    |_| 1.0,
                    |random, _| fill / slower * random.between(0.9, 1.1),
                );
            }
            Kind::FullCacheNoTurnover => {
                let sizes = self.sizes(total / 10.0);
                let full = end * self.random.between(0.1, 0.65);
                self.some_churn(&sizes, total);
                let begin = -self.random.unit() * full * 0.9;
                self.stay(&sizes, (begin, full), total);
            }
            Kind::WarmUp => {
                let sizes = self.sizes(total / 10.0);
                self.some_churn(&sizes, total);
                self.warm_up(total);
            }
            Kind::Batch => {
                let sizes = self.sizes(total / 10.0);
                let spacing = end / (self.clock.seconds.len() - 1) as f64;
                let period = match self.random.below(3) {
                    0 => end * self.random.scale(0.02, 0.9),
                    // Snapshots that creep along the batch.
                    1 => spacing / (1 + self.random.below(3)) as f64 * self.random.between(0.93, 1.07),
                    _ => spacing * self.random.between(0.3, 4.0),
                };
                let period = period.clamp(end * 0.01, end * 0.9);
                self.batches(&sizes, total, period);
                if self.random.chance(0.5) {
                    self.stay(&sizes, (-2.0 * end, -end), total);
                }
            }
            Kind::DayAndNight => {
                let sizes = self.sizes(total / 10.0);
                let mean = end * self.random.scale(0.005, 0.06);
                let day = end * self.random.scale(0.5, 6.0);
                let phase = self.random.unit();
                let depth = self.random.between(0.3, 0.95);
                let level = total.min(3000.0 * r * mean / end);
                self.churn(&sizes, level, mean, |time| {
                    1.0 - depth * (0.5 + 0.5 * (std::f64::consts::TAU * (time / day + phase)).sin())
                });
            }
            Kind::Arena => {
                let bytes = self.random.scale(65_536.0, 4.0 * 1024.0 * 1024.0) as u64;
                let sizes = Sizes(vec![(bytes, 1.0)]);
                let chunks = 4.0 + self.random.unit() * 60.0;
                self.stay(&sizes, (-2.0 * end, -end * 0.1), chunks * bytes as f64);
                let mean = end * self.random.scale(0.01, 0.2);
                let spare = bytes as f64 * self.random.scale(0.2, 6.0);
                self.churn(&sizes, spare, mean, |_| 1.0);
            }
            Kind::StepUp => {
                let sizes = self.sizes(total / 5.0);
                self.stay(&sizes, (-2.0 * end, -end), total);
                let at = end * self.random.unit();
                let size = total * self.random.scale(0.2, 3.0);
                let length = end * self.random.scale(0.001, 0.02);
                self.stay(&sizes, (at, at + length), size);
                self.some_churn(&sizes, total);
                if self.random.chance(0.5) {
                    // The old configuration goes.
                    self.flow(&sizes, (-end, -end * 0.5), size / end, |_| 1.0, |_, time| at + length - time);
                }
            }
            Kind::Shrinking => {
                let sizes = self.sizes(total / 5.0);
                let mean = end * self.random.scale(0.1, 1.0);
                self.flow(
                    &sizes,
                    (-end, -0.1 * end),
                    total / end,
                    |_| 1.0,
                    |random, time| -time + random.exponential(mean),
                );
            }
            Kind::Queue => {
                let sizes = self.sizes(total / 10.0);
                self.queue(&sizes, total);
            }
            Kind::LargeObject => {
                let bytes = self.random.scale(1e6, 64e6) as u64;
                let born = self.random.between(-1.0, 0.95) * end;
                self.objects.push(Object { born, freed: f64::INFINITY, bytes });
            }
            Kind::TooSmall => {
                let sizes = self.sizes(r / 4.0);
                let few = r * self.random.between(0.2, 2.0);
                self.stay(&sizes, (0.0, end), few);
            }
            Kind::LateCache => {
                let sizes = self.sizes(total / 10.0);
                let full = end * self.random.between(0.65, 1.5);
                let begin = -self.random.unit() * full * 0.9;
                self.stay(&sizes, (begin, full), total);
            }
            _ => panic!("{kind:?} is a leak"),
        }
    }
}
