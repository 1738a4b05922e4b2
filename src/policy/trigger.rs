//! The rules that ask for a snapshot, and what comes of them together. Each can say why it asks, and why not.

mod events;
mod gauge;
mod growth;
mod hold;
mod prediction;
mod pressure;
mod rss;
mod trend;

use std::fmt;
use std::time::Duration;

use self::events::EventsRule;
use self::gauge::GaugeRule;
use self::growth::GrowthRule;
use self::prediction::PredictionRule;
use self::pressure::PressureRule;
use self::rss::RssRule;
use super::{Growth, RateLimit, Reason, Threshold};
use crate::profile::Reading;

pub(crate) use self::gauge::{GaugeValue, Gauged};
pub(crate) use self::hold::Hold;

/// How many readings in a row a rule wants where one can be wrong. The kernel's RSS is approximate.
const CONFIRMATIONS: u32 = 2;

/// What the rules beside RSS's threshold and the host's gauges look for; `None` and false switch one off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    /// RSS has grown so much since the last snapshot.
    pub(crate) growth: Option<Growth>,
    /// The limit would be reached within this.
    pub(crate) prediction: Option<Duration>,
    /// Some task waited for memory in more than so many percent of the last ten seconds.
    pub(crate) pressure: Option<f64>,
    /// The kernel counted trouble of the control group.
    pub(crate) events: bool,
}

/// What the trigger makes of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision {
    /// A snapshot is due.
    Take(Reason),
    /// None is, and why.
    Hold(Hold),
}

/// What one rule makes of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Fires(Reason),
    Holds(Hold),
}

/// One rule's word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Said {
    /// The name of the reason that it would give.
    pub(crate) rule: &'static str,
    /// Which of the host's gauges.
    pub(crate) gauge: Option<&'static str>,
    pub(crate) verdict: Verdict,
    /// How long the gauge's function took, where that was too long.
    pub(crate) slow: Option<Duration>,
}

/// All rules, behind one limit.
#[derive(Debug)]
pub(crate) struct Trigger {
    rss: RssRule,
    growth: GrowthRule,
    prediction: PredictionRule,
    pressure: PressureRule,
    events: EventsRule,
    gauges: Vec<GaugeRule>,
    limit: RateLimit,
    /// What each said of the last reading; kept to be filled again without allocating.
    said: Vec<Said>,
}

impl Trigger {
    /// A trigger that asks for at most one snapshot in `min_interval`, of readings that come every `poll_interval`.
    /// `gauges` are names and thresholds.
    pub(crate) fn new(
        threshold: Threshold,
        rules: &Rules,
        gauges: impl IntoIterator<Item = (&'static str, f64)>,
        min_interval: Duration,
        poll_interval: Duration,
    ) -> Self {
        let gauges: Vec<_> = gauges.into_iter().map(|(name, above)| GaugeRule::new(name, above)).collect();
        Self {
            rss: RssRule::new(threshold),
            growth: GrowthRule::new(rules.growth),
            prediction: PredictionRule::new(rules.prediction, poll_interval),
            pressure: PressureRule::new(rules.pressure),
            events: EventsRule::new(rules.events),
            said: Vec::with_capacity(5 + gauges.len()),
            gauges,
            limit: RateLimit::new(min_interval),
        }
    }

    /// What to do about a reading, with the host's gauges as they were then, in their order.
    ///
    /// Where several rules fire, the one that tells most is the reason: RSS is above its threshold for most of a
    /// service's life, and the kernel counts trouble seldom. Where none does, the reason is RSS's rule's.
    pub(crate) fn decide(&mut self, reading: &Reading, gauges: &[Gauged]) -> Decision {
        let plain = |rule, verdict| Said { rule: Reason::NAMES[rule], gauge: None, verdict, slow: None };
        let rss = self.rss.judge(reading);
        self.said.clear();
        self.said.extend([
            plain(0, rss),
            plain(2, self.growth.judge(reading)),
            plain(3, self.prediction.judge(reading)),
            plain(4, self.pressure.judge(reading)),
            plain(5, self.events.judge(reading)),
        ]);
        for (rule, gauged) in self.gauges.iter_mut().zip(gauges) {
            let verdict = rule.judge(gauged.value);
            let said = Said { rule: Reason::NAMES[6], gauge: Some(rule.name), verdict, slow: gauged.slow };
            self.said.push(said);
        }
        let fires = self.said.iter().filter_map(|said| match said.verdict {
            Verdict::Fires(reason) => Some(reason),
            Verdict::Holds(_) => None,
        });
        match (fires.min_by_key(rank), self.limit.wait(reading.uptime), rss) {
            (Some(_), Some(left), _) => Decision::Hold(Hold::TooSoon { left, interval: self.limit.interval() }),
            (Some(reason), None, _) | (None, _, Verdict::Fires(reason)) => Decision::Take(reason),
            (None, _, Verdict::Holds(hold)) => Decision::Hold(hold),
        }
    }

    /// What each rule said of the last reading: RSS's first, the host's gauges last.
    pub(crate) fn said(&self) -> &[Said] {
        &self.said
    }

    /// When the memory limit would be reached by the last reading; `None` when use does not rise towards it.
    pub(crate) fn predicted(&self) -> Option<Duration> {
        self.prediction.predicted()
    }

    /// The snapshot `id` has been taken, for whatever reason; one that a rule asked for starts the interval. One that failed
    /// is asked for again at the next reading.
    pub(crate) fn taken(&mut self, id: u64, reason: &Reason, reading: &Reading) {
        self.growth.taken(id, reading);
        self.events.taken(reading);
        if *reason != Reason::Requested {
            self.limit.done(reading.uptime);
        }
    }
}

/// Which reason tells most: the smallest.
fn rank(reason: &Reason) -> u32 {
    match reason {
        Reason::CgroupEvent { .. } => 0,
        Reason::LimitPredicted { .. } => 1,
        Reason::MemoryPressure { .. } => 2,
        Reason::GaugeAboveThreshold { .. } => 3,
        Reason::RssGrowth { .. } => 4,
        Reason::RssAboveThreshold { .. } | Reason::Requested => 5,
    }
}

/// Whether something has been so on [`CONFIRMATIONS`] readings in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Confirmed {
    in_a_row: u32,
}

impl Confirmed {
    fn note(&mut self, is_so: bool) -> bool {
        self.in_a_row = if is_so { self.in_a_row.saturating_add(1) } else { 0 };
        self.in_a_row >= CONFIRMATIONS
    }
}

impl Said {
    /// One word for JSON: `fires`, `holds`, `off`, `unknown`.
    pub(crate) fn word(&self) -> &'static str {
        match &self.verdict {
            Verdict::Fires(_) => "fires",
            Verdict::Holds(hold) => hold.word(),
        }
    }
}

/// The explanation.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Fires(reason) => reason.fmt(f)?,
            Verdict::Holds(hold) => hold.fmt(f)?,
        }
        match self.slow {
            Some(took) => write!(f, "; its function took {:.2} s, and no poll comes while it runs", took.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(reason) => write!(f, "taken: {reason}"),
            Self::Hold(hold) => write!(f, "not taken: {hold}"),
        }
    }
}

#[cfg(test)]
mod tests;
