//! What the search for leaks tells, to people and to programs.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::{Moment, Story};
use crate::analysis::growth::{Basis, Fact, Judgement, Shape, Verdict, until_limit};
use crate::analysis::{Leaks, Site};
use crate::error::Result;
use crate::profile::{CgroupMemory, Interval};

/// What grows without bound over the kept snapshots, what does not, and why. `GET /api/leaks` serves it as JSON with the
/// same names; as text it is for people.
///
/// Sizes are estimated bytes, whole ones in JSON, durations seconds; bounds (`_low`, `_high`) are those of 95% intervals.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LeakReport {
    /// All of it in one sentence.
    pub summary: String,
    /// Why nothing can be said to be fine, where that is so: then no suspects does not mean no leak.
    pub inconclusive: Option<String>,
    /// The snapshots that were compared, oldest first: the pinned first one and those of the ring.
    pub snapshots: Vec<u64>,
    /// When the first of them was taken.
    #[serde(serialize_with = "rfc3339")]
    pub from: Option<SystemTime>,
    /// When the last of them was taken.
    #[serde(serialize_with = "rfc3339")]
    pub to: Option<SystemTime>,
    /// Time between these, by a clock that never steps.
    pub seconds: f64,
    /// Distinct sites that hold anything in any of them.
    pub sites: usize,
    /// R: one sample in so many bytes, on average.
    pub sample_interval_bytes: u64,
    /// The memory limit, if there is one that is known.
    pub limit_bytes: Option<u64>,
    /// What is left until the limit.
    pub headroom_bytes: Option<u64>,
    /// Growth a second of all suspects that have a rate, together.
    pub bytes_per_second: Option<f64>,
    /// Time until the limit is reached at that rate, where rate and limit are known.
    pub seconds_to_limit: Option<f64>,
    /// All that is not part of a suspect, taken together and judged as one.
    pub together: Evidence,
    /// What grows without bound, by the growth that is certain, largest first.
    pub suspects: Vec<LeakSuspect>,
    /// Functions in which memory grows that are not among `suspects`: those are the 256 in which most does.
    pub suspects_left_out: usize,
    /// Sites that rose and were not judged: those are the 512 that rose most.
    pub sites_not_judged: usize,
    /// What rose and is not accused, with the reason; the largest rise first, twenty at most.
    pub let_go: Vec<LetGo>,
    /// What is missing, and what could not be named.
    pub comments: Vec<String>,
}

/// Where memory grows without bound.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LeakSuspect {
    /// Where the growth comes together.
    #[serde(flatten)]
    pub site: Site,
    /// Where that is a dependency's: the function of the program that leads there.
    pub called_from: Option<Site>,
    /// The evidence.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// The stack that grew most, from its site to the root.
    pub stack: Vec<Site>,
    /// The share of the growth that this stack carries.
    pub stack_share: f64,
    /// How many stacks there are.
    pub stacks: usize,
    /// The stack for people.
    #[serde(skip)]
    lines: Vec<String>,
}

/// A site that rose and is not accused.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LetGo {
    /// The site.
    #[serde(flatten)]
    pub site: Site,
    /// The most by which it was ever higher than before.
    #[serde(serialize_with = "whole")]
    pub rise_bytes: f64,
    /// Why.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// What is known of one site's growth.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// In words.
    pub verdict: String,
    /// The course that it took, in one word.
    pub shape: &'static str,
    /// The snapshot at which the judged window begins; it ends with the last.
    pub since_snapshot: Option<u64>,
    /// Length of the window.
    pub window_seconds: f64,
    /// Growth over the window.
    #[serde(serialize_with = "whole")]
    pub bytes: f64,
    /// Its lower bound.
    #[serde(serialize_with = "whole")]
    pub bytes_low: f64,
    /// Its upper bound.
    #[serde(serialize_with = "whole")]
    pub bytes_high: f64,
    /// Growth a second: the median of the slopes between all snapshots of the window (Theil and Sen).
    pub bytes_per_second: Option<f64>,
    /// Its lower bound.
    pub bytes_per_second_low: Option<f64>,
    /// Its upper bound.
    pub bytes_per_second_high: Option<f64>,
    /// Time until the limit is reached at that rate, where rate and limit are known and nothing else grows: that of several
    /// is the report's.
    pub seconds_to_limit: Option<f64>,
    /// The chance of as much growth where there is none.
    pub p_value: f64,
    /// Share of the bytes allocated since the window's start that is alive.
    pub alive_share: Option<f64>,
    /// How long those objects of the site lived that were freed, on average.
    pub usual_lifetime_seconds: Option<f64>,
    /// Share of the live bytes that is older than three times that.
    pub old_share: Option<f64>,
    /// Share of the live bytes that was there two or more snapshots ago; `None` where the source does not tell.
    pub survivor_share: Option<f64>,
    /// Samples allocated in the window and freed; `None` when the source does not tell, or samples were dropped meanwhile.
    pub freed_samples: Option<u64>,
    /// Samples allocated in the window and alive.
    pub alive_samples: Option<u64>,
    /// The chance that an allocation here is not freed: the mean of Beta(alive + 1, freed + 1).
    pub not_freed: Option<f64>,
    /// Its lower bound.
    pub not_freed_low: Option<f64>,
    /// Its upper bound.
    pub not_freed_high: Option<f64>,
    /// Growth below this is not told from chance here.
    #[serde(serialize_with = "whole")]
    pub detection_limit_bytes: f64,
}

impl LeakReport {
    /// What `story` tells, with the memory limit beside it, for as long as `go_on` says yes.
    pub(crate) fn of(story: &Story, cgroup: &CgroupMemory, go_on: impl Fn() -> Result<()>) -> Result<Self> {
        let leaks = story.leaks_while(go_on)?;
        let headroom = headroom(cgroup);
        let moments = story.moments();
        let inconclusive = inconclusive(&leaks, story.basis()).filter(|_| leaks.suspects.is_empty());
        let bytes_per_second = leaks.bytes_per_second();
        let seconds_to_limit = bytes_per_second.zip(headroom).map(|(rate, headroom)| headroom as f64 / rate);
        let summary = summary(&leaks, story, inconclusive.as_deref(), seconds_to_limit);
        let comments = story.comments().iter().cloned().chain(left_out(&leaks)).collect();
        let own_headroom = headroom.filter(|_| leaks.suspects.len() == 1);
        let evidence = |judgement: &Judgement, is_accused| {
            Evidence::of(judgement, &Verdict::new(judgement, is_accused, own_headroom), story)
        };
        let together = &leaks.together;
        let together = Evidence::of(together, &Verdict::of_all(together, leaks.together_grows), story);
        let suspects = leaks.suspects.into_iter().map(|suspect| LeakSuspect {
            lines: suspect.stack_lines(),
            evidence: evidence(&suspect.judgement, true),
            site: suspect.site,
            called_from: suspect.called_from,
            stack: suspect.stack,
            stack_share: suspect.stack_share,
            stacks: suspect.stacks,
        });
        let let_go = leaks.let_go.into_iter().map(|let_go| LetGo {
            evidence: evidence(&let_go.judgement, false),
            site: let_go.site,
            rise_bytes: let_go.rise,
        });
        Ok(Self {
            summary,
            inconclusive,
            snapshots: moments.iter().filter_map(Moment::id).collect(),
            from: moments.first().map(Moment::time),
            to: moments.last().map(Moment::time),
            seconds: leaks.seconds,
            sites: leaks.sites,
            sample_interval_bytes: story.interval().bytes(),
            limit_bytes: cgroup.limit,
            headroom_bytes: headroom,
            bytes_per_second,
            seconds_to_limit,
            together,
            suspects: suspects.collect(),
            suspects_left_out: leaks.suspects_left_out,
            sites_not_judged: leaks.not_judged,
            let_go: let_go.collect(),
            comments,
        })
    }
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        if let (Some(from), Some(to)) = (self.from, self.to) {
            let (from, to, count) = (utc(from), utc(to), self.snapshots.len());
            writeln!(f, "{count} snapshots from {from} to {to}, {} sites", self.sites)?;
        }
        for (number, suspect) in (1..).zip(&self.suspects) {
            writeln!(f, "\n{number}. {}\n   {}", suspect.site, suspect.evidence.verdict)?;
            if let Some(caller) = &suspect.called_from {
                writeln!(f, "   called from {caller}")?;
            }
            writeln!(f, "   {:.0}% of it by this stack:", 100.0 * suspect.stack_share)?;
            for line in &suspect.lines {
                writeln!(f, "     {line}")?;
            }
        }
        for (number, let_go) in self.let_go.iter().enumerate() {
            if number == 0 {
                let why = if self.inconclusive.is_some() { "rose" } else { "not accused" };
                writeln!(f, "\n{why}:")?;
            }
            writeln!(f, "   {}\n      {}", let_go.site, let_go.evidence.verdict)?;
        }
        for comment in &self.comments {
            writeln!(f, "\n{comment}")?;
        }
        Ok(())
    }
}

/// Bytes until the memory limit, if both are known.
fn headroom(cgroup: &CgroupMemory) -> Option<u64> {
    Some(cgroup.limit?.saturating_sub(cgroup.usage?))
}

/// What there were too many of.
fn left_out(leaks: &Leaks) -> impl Iterator<Item = String> + use<> {
    let Leaks { suspects_left_out, not_judged, .. } = *leaks;
    let suspects = (suspects_left_out > 0)
        .then(|| format!("{suspects_left_out} more functions in which memory grows are left out: it grows less there"));
    let sites = (not_judged > 0).then(|| format!("{not_judged} more sites rose and are not judged: they rose less"));
    suspects.into_iter().chain(sites)
}

fn summary(leaks: &Leaks, story: &Story, inconclusive: Option<&str>, seconds_to_limit: Option<f64>) -> String {
    let since = story.basis().before.and_then(|why| {
        let first = story.moments().first().and_then(Moment::id)?;
        Some(format!(" (judged from snapshot {first} on: {why})"))
    });
    let since = since.unwrap_or_default();
    match (leaks.suspects.as_slice(), inconclusive) {
        // The sum of parts too thin to be seen, or one that cannot be followed to a site.
        ([], _) if leaks.together_grows => {
            let words = Verdict::of_all(&leaks.together, true);
            format!("no single site is seen to grow without bound, but the heap as a whole {words}{since}")
        }
        ([], Some(why)) => format!("cannot tell whether anything grows without bound: {why}"),
        ([], None) => {
            let words = Verdict::of_all(&leaks.together, false);
            format!("nothing is seen to grow without bound; the heap as a whole: {words}{since}")
        }
        ([_], _) => format!("1 site grows without bound{since}"),
        (many, _) => {
            let limit = seconds_to_limit.map(|seconds| format!("; together: {}", until_limit(seconds)));
            format!("{} sites grow without bound{}{since}", many.len(), limit.unwrap_or_default())
        }
    }
}

/// Why nothing can be said to be fine.
fn inconclusive(leaks: &Leaks, basis: &Basis) -> Option<String> {
    let too_few = || match leaks.together.fact {
        Fact::FewSnapshots { snapshots, least } => {
            Some(format!("too few snapshots, {snapshots}, and it takes {least}"))
        }
        _ => None,
    };
    basis.doubt().map(|why| why.to_string()).or_else(too_few)
}

impl Evidence {
    fn of(judgement: &Judgement, verdict: &Verdict<'_>, story: &Story) -> Self {
        let Interval { estimate: bytes, low: bytes_low, high: bytes_high } = judgement.growth;
        let posterior = judgement.posterior;
        let not_freed = posterior.map(|posterior| posterior.not_freed());
        Self {
            verdict: verdict.to_string(),
            shape: word(judgement.shape),
            since_snapshot: story.moments().get(judgement.start).and_then(Moment::id),
            window_seconds: judgement.seconds,
            bytes,
            bytes_low,
            bytes_high,
            bytes_per_second: judgement.rate.map(|rate| rate.estimate),
            bytes_per_second_low: judgement.rate.map(|rate| rate.low),
            bytes_per_second_high: judgement.rate.map(|rate| rate.high),
            seconds_to_limit: verdict.seconds_to_limit(),
            p_value: judgement.p_value,
            alive_share: judgement.alive_share,
            usual_lifetime_seconds: judgement.age.usual_lifetime,
            old_share: judgement.age.old_share,
            survivor_share: judgement.age.survivor_share,
            freed_samples: posterior.map(|posterior| posterior.freed),
            alive_samples: posterior.map(|posterior| posterior.alive),
            not_freed: not_freed.map(|share| share.estimate),
            not_freed_low: not_freed.map(|share| share.low),
            not_freed_high: not_freed.map(|share| share.high),
            detection_limit_bytes: judgement.detection_limit,
        }
    }
}

fn word(shape: Shape) -> &'static str {
    match shape {
        Shape::Unbounded => "unbounded",
        Shape::Saturating => "saturating",
        Shape::WarmUp => "warm_up",
        Shape::Step => "step",
        Shape::Sawtooth => "sawtooth",
        Shape::Shrinking => "shrinking",
        Shape::Steady => "steady",
        Shape::Inconclusive => "inconclusive",
    }
}

fn utc(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    time.map(utc).serialize(serializer)
}

/// Sizes are whole bytes in JSON, as everywhere.
fn whole<S: Serializer>(bytes: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_i64(bytes.round() as i64)
}
