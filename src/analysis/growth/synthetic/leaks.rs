//! Leaks.

use super::Kind;
use super::scene::{Object, Scene};

impl Scene<'_> {
    /// What is never freed of a leak of this kind: from when, until when, bytes a second. `None` for other kinds.
    pub(super) fn leak(&mut self, kind: Kind) -> Option<(f64, f64, f64)> {
        let end = self.clock.end();
        let r = self.r();
        // Growth or level, in samples of small objects.
        let weight = self.random.scale(5.0, 300.0);
        let total = weight * r;
        match kind {
            Kind::SteadyLeak => {
                let sizes = self.sizes(total / 20.0);
                self.stay(&sizes, (0.0, end), total);
                self.some_churn(&sizes, total);
                Some((0.0, end, total / end))
            }
            Kind::BurstLeak => {
                let sizes = self.sizes(total / 30.0);
                let bursts = 6 + self.random.below(10);
                let step = end / bursts as f64;
                for burst in 0..bursts {
                    let at = (burst as f64 + self.random.unit()) * step;
                    self.stay(&sizes, (at, (at + 0.01 * end).min(end)), total / bursts as f64);
                }
                Some((0.0, end, total / end))
            }
            Kind::LeakUnderChurn => {
                let sizes = self.sizes(total / 20.0);
                let churned = total * self.random.scale(10.0, 100.0);
                // No more than a debug build simulates in good time.
                let churned = churned.min(3000.0 * r);
                let mean = end * self.random.scale(0.002, 0.05);
                self.stay(&sizes, (0.0, end), total);
                let churn = self.sizes(total / 20.0);
                self.churn(&churn, churned * mean / end, mean, |_| 1.0);
                Some((0.0, end, total / end))
            }
            Kind::LateLeak => {
                let sizes = self.sizes(total / 20.0);
                let begin = end * self.random.between(0.6, 0.68);
                self.stay(&sizes, (begin, end), total);
                let mean = end * self.random.scale(0.005, 0.05);
                let left = self.random.between(0.3, 1.0);
                let level = total * self.random.scale(0.2, 2.0);
                self.churn(&sizes, level, mean, |time| if time < begin { 1.0 } else { left });
                Some((begin, end, total / (end - begin)))
            }
            Kind::LeakOnWarmUp => {
                let sizes = self.sizes(total / 20.0);
                self.stay(&sizes, (0.0, end), total);
                let warm = total * self.random.scale(0.5, 10.0);
                self.warm_up(warm);
                Some((0.0, end, total / end))
            }
            Kind::LeakOnSawtooth => {
                let sizes = self.sizes(total / 20.0);
                self.stay(&sizes, (0.0, end), total);
                let period = end * self.random.scale(0.02, 0.35);
                let amplitude = total * self.random.scale(0.2, 2.0);
                self.batches(&sizes, amplitude, period);
                Some((0.0, end, total / end))
            }
            Kind::DoublingVec => {
                let rate = total.max(8.0 * r) / end;
                let mut capacity = rate * end * self.random.scale(1.0 / 64.0, 1.0 / 8.0);
                let mut born = -self.random.exponential(end);
                let before = capacity * self.random.between(0.5, 1.0);
                while born < end {
                    let freed = (capacity - before) / rate;
                    if self.random.chance(self.clock.interval.probability(capacity as u64)) {
                        self.objects.push(Object { born, freed, bytes: capacity as u64 });
                    }
                    born = freed;
                    capacity *= 2.0;
                }
                Some((0.0, end, rate))
            }
            Kind::PartLeak => {
                let sizes = self.sizes(total / 20.0);
                let mean = end * self.random.scale(0.03, 0.3);
                self.flow(
                    &sizes,
                    (0.0, end),
                    total / 0.7 / end,
                    |_| 1.0,
                    |random, _| {
                        if random.chance(0.7) { f64::INFINITY } else { random.exponential(mean) }
                    },
                );
                Some((0.0, end, total / end))
            }
            _ => None,
        }
    }
}
