//! Synthetic histories of sites, with what is true of them.
//!
//! Only sampled objects are simulated: where objects of Z bytes are born at λ a second, sampled ones are born at λ·p, each
//! with a lifetime of its own.

use super::Judgement;
use crate::analysis::{Point, Series};
use crate::profile::{SampleInterval, Sums};

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in the logarithm.
    fn scale(&mut self, low: f64, high: f64) -> f64 {
        (self.between(low.ln(), high.ln())).exp()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
}

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

/// A sampled object.
#[derive(Clone, Copy)]
struct Object {
    born: f64,
    freed: f64,
    bytes: u64,
}

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

/// When the snapshots of one service were taken, and with what sample interval.
#[derive(Clone)]
pub(crate) struct Clock {
    pub(crate) interval: SampleInterval,
    pub(crate) seconds: Vec<f64>,
}

impl Clock {
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

    fn end(&self) -> f64 {
        self.seconds[self.seconds.len() - 1]
    }
}

/// Sizes of objects: each with its share of the bytes.
struct Sizes(Vec<(u64, f64)>);

struct Scene<'a> {
    random: &'a mut Random,
    clock: &'a Clock,
    objects: Vec<Object>,
}

impl Scene<'_> {
    fn r(&self) -> f64 {
        self.clock.interval.bytes() as f64
    }

    /// One size or a mix, none above `most`.
    fn sizes(&mut self, most: f64) -> Sizes {
        let most = most.clamp(64.0, 4.0 * 1024.0 * 1024.0);
        let count = [1, 1, 2, 3][self.random.below(4)];
        Sizes((0..count).map(|_| (self.random.scale(64.0, most.max(65.0)) as u64, 1.0 / count as f64)).collect())
    }

    /// Sampled objects of `rate` bytes a second from `from` to `to`, kept with chance `share(time)`, with lifetimes.
    fn flow(
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
    fn stay(&mut self, sizes: &Sizes, span: (f64, f64), total: f64) {
        self.flow(sizes, span, total / (span.1 - span.0), |_| 1.0, |_, _| f64::INFINITY);
    }

    /// Churn with a mean of `level` bytes alive, following `share`.
    fn churn(&mut self, sizes: &Sizes, level: f64, mean: f64, share: impl Fn(f64) -> f64) {
        let end = self.clock.end();
        // Bounded, for time: what short-lived churn does in a snapshot is the same however much went before.
        let begin = -(8.0 * mean);
        self.flow(sizes, (begin, end), level / mean, share, |random, _| random.exponential(mean));
    }

    /// In every third history, up to `most` bytes that come and go besides.
    fn some_churn(&mut self, sizes: &Sizes, most: f64) {
        if self.random.chance(0.33) {
            let (level, mean) =
                (most * self.random.between(0.05, 0.7), self.clock.end() * self.random.scale(0.01, 0.1));
            self.churn(sizes, level, mean, |_| 1.0);
        }
    }

    fn batches(&mut self, sizes: &Sizes, amplitude: f64, period: f64) {
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

    fn series(&mut self) -> Series {
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
}

/// A history of a kind.
pub(crate) fn history(kind: Kind, random: &mut Random, clock: &Clock) -> History {
    let mut scene = Scene { random, clock, objects: Vec::new() };
    let leak = scene.play(kind);
    let series = scene.series();
    History { kind, interval: clock.interval, series, leak }
}

impl Scene<'_> {
    fn play(&mut self, kind: Kind) -> Option<(f64, f64, f64)> {
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
            Kind::ShortChurn => {
                let sizes = self.sizes(total / 5.0);
                let mean = end * self.random.scale(0.005, 0.05);
                self.churn(&sizes, total.min(3000.0 * r * mean / end), mean, |_| 1.0);
                None
            }
            Kind::LongChurn => {
                let sizes = self.sizes(total / 5.0);
                let mean = end * self.random.scale(0.05, 2.0);
                self.churn(&sizes, total, mean, |_| 1.0);
                None
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
                None
            }
            Kind::FullCacheNoTurnover => {
                let sizes = self.sizes(total / 10.0);
                let full = end * self.random.between(0.1, 0.65);
                self.some_churn(&sizes, total);
                let begin = -self.random.unit() * full * 0.9;
                self.stay(&sizes, (begin, full), total);
                None
            }
            Kind::WarmUp => {
                let sizes = self.sizes(total / 10.0);
                self.some_churn(&sizes, total);
                self.warm_up(total);
                None
            }
            Kind::Batch => {
                let sizes = self.sizes(total / 10.0);
                let spacing = end / (self.clock.seconds.len() - 1) as f64;
                let period = match self.random.below(3) {
                    0 => end * self.random.scale(0.02, 0.5),
                    // Snapshots that creep along the batch.
                    1 => spacing / (1 + self.random.below(3)) as f64 * self.random.between(0.93, 1.07),
                    _ => spacing * self.random.between(0.3, 4.0),
                };
                let period = period.clamp(end * 0.01, end * 0.5);
                self.batches(&sizes, total, period);
                if self.random.chance(0.5) {
                    self.stay(&sizes, (-2.0 * end, -end), total);
                }
                None
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
                None
            }
            Kind::Arena => {
                let bytes = self.random.scale(65_536.0, 4.0 * 1024.0 * 1024.0) as u64;
                let sizes = Sizes(vec![(bytes, 1.0)]);
                let chunks = 4.0 + self.random.unit() * 60.0;
                self.stay(&sizes, (-2.0 * end, -end * 0.1), chunks * bytes as f64);
                let mean = end * self.random.scale(0.01, 0.2);
                let spare = bytes as f64 * self.random.scale(0.2, 6.0);
                self.churn(&sizes, spare, mean, |_| 1.0);
                None
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
                None
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
                None
            }
            Kind::Queue => {
                let sizes = self.sizes(total / 10.0);
                self.queue(&sizes, total);
                None
            }
            Kind::LargeObject => {
                let bytes = self.random.scale(1e6, 64e6) as u64;
                let born = self.random.between(-1.0, 0.95) * end;
                self.objects.push(Object { born, freed: f64::INFINITY, bytes });
                None
            }
            Kind::TooSmall => {
                let sizes = self.sizes(r / 4.0);
                let few = r * self.random.between(0.2, 2.0);
                self.stay(&sizes, (0.0, end), few);
                None
            }
        }
    }

    fn stay_until(
        &mut self,
        sizes: &Sizes,
        span: (f64, f64),
        total: f64,
        lifetime: impl FnMut(&mut Random, f64) -> f64,
    ) {
        self.flow(sizes, span, total / (span.1 - span.0), |_| 1.0, lifetime);
    }

    /// An exponential approach to `total` bytes.
    fn warm_up(&mut self, total: f64) {
        let sizes = self.sizes(total / 10.0);
        let end = self.clock.end();
        let pace = end * self.random.scale(0.02, 0.15);
        let begin = -self.random.unit() * pace;
        self.flow(&sizes, (begin, end), total / pace, |time| (-(time - begin) / pace).exp(), |_, _| f64::INFINITY);
    }

    /// First in, first out, with a length that wanders between nothing and `most` bytes.
    fn queue(&mut self, sizes: &Sizes, most: f64) {
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
