//! What happens at a site, in terms of its sampled objects.

use super::{Clock, Random};
use crate::analysis::{Point, Series};
use crate::profile::Sums;

/// A sampled object.
#[derive(Clone, Copy)]
pub(super) struct Object {
    pub(super) born: f64,
    pub(super) freed: f64,
    pub(super) bytes: u64,
}

/// Sizes of objects: each with its share of the bytes.
pub(super) struct Sizes(pub(super) Vec<(u64, f64)>);

/// What happens at one site.
pub(super) struct Scene<'a> {
    pub(super) random: &'a mut Random,
    pub(super) clock: &'a Clock,
    pub(super) objects: Vec<Object>,
}

impl Scene<'_> {
    pub(super) fn r(&self) -> f64 {
        self.clock.interval.bytes() as f64
    }

    /// One size or a mix, none above `most`.
    pub(super) fn sizes(&mut self, most: f64) -> Sizes {
        let most = most.clamp(64.0, 4.0 * 1024.0 * 1024.0);
        let count = [1, 1, 2, 3][self.random.below(4)];
        Sizes((0..count).map(|_| (self.random.scale(64.0, most.max(65.0)) as u64, 1.0 / count as f64)).collect())
    }

    /// Sampled objects of `rate` bytes a second from `from` to `to`, kept with chance `share(time)`, with lifetimes.
    pub(super) fn flow(
        &mut self,
        sizes: &Sizes,
        (from, to): (f64, f64),
        rate: f64,
        share: impl Fn(f64) -> f64,
        mut lifetime: impl FnMut(&mut Random, f64) -> f64,
    ) {
        for &(bytes, part) in &sizes.0 {
            let p = self.clock.interval.probability(bytes);
            let mean_gap = bytes as f64 / (rate * part * p);
            let mut time = from + self.random.exponential(mean_gap);
            while time < to {
                if self.random.unit() < share(time) {
                    let freed = time + lifetime(self.random, time);
                    self.objects.push(Object { born: time, freed, bytes });
                }
                time += self.random.exponential(mean_gap);
            }
        }
    }

    /// `total` bytes at random moments from `from` to `to`, for good.
    pub(super) fn stay(&mut self, sizes: &Sizes, span: (f64, f64), total: f64) {
        self.flow(sizes, span, total / (span.1 - span.0), |_| 1.0, |_, _| f64::INFINITY);
    }

    /// Churn with a mean of `level` bytes alive, following `share`.
    pub(super) fn churn(&mut self, sizes: &Sizes, level: f64, mean: f64, share: impl Fn(f64) -> f64) {
        let end = self.clock.end();
        // Bounded, for time: what short-lived churn does in a snapshot is the same however much went before.
        let begin = -(8.0 * mean);
        self.flow(sizes, (begin, end), level / mean, share, |random, _| random.exponential(mean));
    }

    /// In every third history, up to `most` bytes that come and go besides.
    pub(super) fn some_churn(&mut self, sizes: &Sizes, most: f64) {
        if self.random.chance(0.33) {
            let (level, mean) =
                (most * self.random.between(0.05, 0.7), self.clock.end() * self.random.scale(0.01, 0.1));
            self.churn(sizes, level, mean, |_| 1.0);
        }
    }

    pub(super) fn batches(&mut self, sizes: &Sizes, amplitude: f64, period: f64) {
        let phase = self.random.unit() * period;
        let end = self.clock.end();
        let begin = -period;
        self.flow(
            sizes,
            (begin, end),
            amplitude / period,
            |_| 1.0,
            |_, time| {
                let since = (time + phase).rem_euclid(period);
                period - since
            },
        );
    }

    pub(super) fn series(&mut self) -> Series {
        let seconds = &self.clock.seconds;
        let interval = self.clock.interval;
        let mut points: Vec<Point> =
            (0..seconds.len()).map(|j| Point { cohorts: vec![Sums::default(); j + 1], ..Point::default() }).collect();
        for object in &self.objects {
            let weight = interval.weigh(object.bytes);
            let epoch = seconds.iter().take_while(|&&time| time < object.born).count();
            for at in epoch..seconds.len() {
                let point = &mut points[at];
                point.samples += 1;
                point.allocated_bytes += weight.estimated_bytes;
                if object.freed <= seconds[at] {
                    point.freed_lifetimes_millis += ((object.freed - object.born) * 1000.0) as u64;
                } else {
                    point.cohorts[epoch] += weight;
                }
            }
        }
        Series { seconds: seconds.clone(), points }
    }

    pub(super) fn stay_until(
        &mut self,
        sizes: &Sizes,
        span: (f64, f64),
        total: f64,
        lifetime: impl FnMut(&mut Random, f64) -> f64,
    ) {
        self.flow(sizes, span, total / (span.1 - span.0), |_| 1.0, lifetime);
    }

    /// An exponential approach to `total` bytes.
    pub(super) fn warm_up(&mut self, total: f64) {
        let sizes = self.sizes(total / 10.0);
        let end = self.clock.end();
        let pace = end * self.random.scale(0.02, 0.15);
        let begin = -self.random.unit() * pace;
        self.flow(&sizes, (begin, end), total / pace, |time| (-(time - begin) / pace).exp(), |_, _| f64::INFINITY);
    }

    /// First in, first out, with a length that wanders between nothing and `most` bytes.
    pub(super) fn queue(&mut self, sizes: &Sizes, most: f64) {
        const STEPS: usize = 400;
        let end = self.clock.end();
        let begin = -0.2 * end;
        let mean_wait = end * self.random.scale(0.005, 0.06);
        let wander = self.random.scale(0.01, 0.1);
        let mut lengths = vec![self.random.unit()];
        for at in 1..=STEPS {
            let step = if self.random.chance(0.5) { wander } else { -wander };
            lengths.push((lengths[at - 1] + step).clamp(0.0, 1.0));
        }
        let length = move |time: f64| lengths[(((time - begin) / (end - begin)) * STEPS as f64) as usize % (STEPS + 1)];
        // Served at a constant pace: who comes when the queue is long waits long.
        self.flow(
            sizes,
            (begin, end),
            most / mean_wait / 2.0,
            |_| 1.0,
            |_, time| (2.0 * mean_wait * length(time)).max(1e-3),
        );
    }
}
