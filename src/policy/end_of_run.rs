//! How an earlier run ended, from what it left and what the kernel says.

use std::time::Duration;

use crate::profile::{ByteSize, Reading};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It has not.
    Running,
    /// heapward was shut down, or its handle was dropped.
    Clean,
    /// A panic passed through whatever held heapward's handle.
    Panic,
    /// For memory, by the kernel.
    KilledForMemory,
    /// The machine was started again since.
    Reboot,
    /// Without a word: by a signal, `exit` or `abort`.
    NotClean,
    /// What it left cannot be read.
    Unknown,
}

/// How much stands behind a [`How`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// Somebody who knows says so: the run itself, or the kernel by its process id.
    Sure,
    /// What is known fits nothing else as well.
    Likely,
}

impl How {
    /// All, each at the place of its number in files.
    pub(crate) const ALL: [Self; 7] =
        [Self::Running, Self::Clean, Self::Panic, Self::KilledForMemory, Self::Reboot, Self::NotClean, Self::Unknown];

    /// One word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Clean => "clean",
            Self::Panic => "panic",
            Self::KilledForMemory => "killed_for_memory",
            Self::Reboot => "reboot",
            Self::NotClean => "not_clean",
            Self::Unknown => "unknown",
        }
    }
}

impl Certainty {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sure => "sure",
            Self::Likely => "likely",
        }
    }
}

/// How a run ended, how sure that is, and why, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndOfRun {
    pub(crate) how: How,
    pub(crate) certainty: Certainty,
    pub(crate) why: String,
}

/// What the kernel says of a process that it killed for memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelWord {
    /// Since boot, by the clock of the kernel's log.
    pub(crate) at: Duration,
    pub(crate) words: String,
}

/// When a run ran, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lived {
    pub(crate) begun: Duration,
    /// When it noted something last.
    pub(crate) last: Duration,
}

/// The clock of the kernel's log is not the one that runs are timed by: after months they differ by minutes. So a word counts
/// from this share of the time since boot before the run began.
const DRIFT: f64 = 0.01;

/// A run notes something every minute at least, and one that is short of memory may be late.
const AFTER_LAST: Duration = Duration::from_secs(120);

impl Lived {
    fn earliest(self) -> Duration {
        self.begun.mul_f64(1.0 - DRIFT)
    }

    fn latest(self) -> Duration {
        self.last.max(self.begun).saturating_add(AFTER_LAST)
    }
}

impl Traces {
    /// The kernel's word for this run, and how sure it is that it is for this one: process ids are used again.
    fn kernel_word(&self) -> Option<(&str, Certainty)> {
        let (earliest, latest) = (self.lived.earliest(), self.lived.latest());
        let within = |word: &&KernelWord| (earliest..=latest).contains(&word.at);
        if let Some(word) = self.kernel_says.iter().rfind(within) {
            return Some((&word.words, Certainty::Sure));
        }
        // Of a later process of that id, where the run's own group has lost none since.
        if self.group_kills.is_some_and(|(before, now)| now == before) {
            return None;
        }
        let later = self.kernel_says.iter().find(|word| word.at > latest)?;
        Some((&later.words, Certainty::Likely))
    }
}

/// What is known of a run that is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces {
    /// What it said itself at its end.
    pub(crate) said: Option<How>,
    /// Whether the machine still runs since then; `None` where the kernel does not say.
    pub(crate) is_same_boot: Option<bool>,
    /// Of the control group that it was in, how many processes had been killed for memory by its last record, and how many
    /// by now; `None` where it is not known to be the same group.
    pub(crate) group_kills: Option<(u64, u64)>,
    /// The kernel's own words for having killed a process of its id, the oldest first.
    pub(crate) kernel_says: Vec<KernelWord>,
    /// When it ran, as far as it noted that.
    pub(crate) lived: Lived,
    /// Its last reading.
    pub(crate) last: Option<Reading>,
}

/// From this share of the limit on, the last reading is worth a remark.
const NEAR_LIMIT: f64 = 0.9;

impl EndOfRun {
    /// What `traces` say.
    pub(crate) fn of(traces: &Traces) -> Self {
        let (how, certainty, mut why) = Self::word(traces);
        if !matches!(how, How::Clean | How::Panic)
            && let Some(near) = near_limit(traces)
        {
            why.push_str(&near);
        }
        Self { how, certainty, why }
    }

    fn word(traces: &Traces) -> (How, Certainty, String) {
        match traces.said {
            Some(How::Clean) => {
                return (How::Clean, Certainty::Sure, "heapward was shut down, or its handle was dropped".to_owned());
            }
            Some(How::Panic) => {
                let why = "heapward's handle was dropped by a panic".to_owned();
                return (How::Panic, Certainty::Sure, why);
            }
            _ => {}
        }
        if let Some((words, certainty)) = traces.kernel_word() {
            let doubt = match certainty {
                Certainty::Sure => "",
                Certainty::Likely => {
                    "; that was long after its last record, so it may be of a later process of that id"
                }
            };
            return (How::KilledForMemory, certainty, format!("the kernel says: {words}{doubt}"));
        }
        if let Some((before, now)) = traces.group_kills
            && now > before
        {
            let count = match now - before {
                1 => "one process of its control group was".to_owned(),
                some => format!("{some} processes of its control group were"),
            };
            let why = format!(
                "it ended without a word, and since its last record {count} killed for memory; the group's counter does not say \
                 which"
            );
            return (How::KilledForMemory, Certainty::Likely, why);
        }
        match traces.is_same_boot {
            Some(false) => {
                let why =
                    "it ended without a word, and the machine was started again since: at that time at the latest";
                (How::Reboot, Certainty::Likely, why.to_owned())
            }
            _ => {
                let kills = match traces.group_kills {
                    Some(_) => "nothing of its control group was killed for memory since its last record",
                    None => {
                        "whether it was killed for memory is not known: its control group is gone or does not count"
                    }
                };
                (
                    How::NotClean,
                    Certainty::Sure,
                    format!("it ended without a word: by a signal, `exit` or `abort`; {kills}"),
                )
            }
        }
    }
}

fn near_limit(traces: &Traces) -> Option<String> {
    let reading = traces.last?;
    let (limit, usage) = (reading.cgroup.limit?, reading.cgroup.usage?);
    let share = usage as f64 / limit as f64;
    (share >= NEAR_LIMIT).then(|| {
        let (usage, limit) = (ByteSize::bytes(usage), ByteSize::bytes(limit));
        format!("; its last reading, {} after its start, was {usage} of a limit of {limit}", Seconds(reading.uptime))
    })
}

struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::CgroupMemory;

    #[track_caller]
    fn check(traces: &Traces, how: &str, certainty: &str, why: &str) {
        let end = EndOfRun::of(traces);
        assert_eq!((end.how.name(), end.certainty.name()), (how, certainty));
        assert!(end.why.contains(why), "{}", end.why);
    }

    #[test]
    fn what_a_run_says_of_itself_comes_first_then_the_kernel_then_the_group() {
        let killed = Traces {
            group_kills: Some((3, 5)),
            kernel_says: vec![word(0, "Killed process 7")],
            is_same_boot: Some(true),
            ..Traces::default()
        };
        check(&Traces { said: Some(How::Clean), ..killed.clone() }, "clean", "sure", "shut down");
        check(&Traces { said: Some(How::Panic), ..killed.clone() }, "panic", "sure", "by a panic");
        check(&killed, "killed_for_memory", "sure", "the kernel says: Killed process 7");
        let killed = Traces { kernel_says: Vec::new(), ..killed };
        check(&killed, "killed_for_memory", "likely", "2 processes of its control group were killed for memory");
        let one = Traces { group_kills: Some((4, 5)), ..killed.clone() };
        check(&one, "killed_for_memory", "likely", "one process of its control group was killed");
        let none = Traces { group_kills: Some((5, 5)), ..killed.clone() };
        check(&none, "not_clean", "sure", "nothing of its control group was killed for memory");
        // A counter that fell is another group's.
        check(&Traces { group_kills: Some((5, 4)), ..killed }, "not_clean", "sure", "without a word");
        check(&Traces::default(), "not_clean", "sure", "whether it was killed for memory is not known");
        check(&Traces { is_same_boot: Some(false), ..Traces::default() }, "reboot", "likely", "started again since");
    }

    fn word(at: u64, words: &str) -> KernelWord {
        KernelWord { at: Duration::from_secs(at), words: words.to_owned() }
    }

    #[test]
    fn the_kernels_word_is_believed_for_the_time_of_the_run() {
        // Begun 100,000 s after boot, 500 s long.
        let seconds = Duration::from_secs;
        let lived = Lived { begun: seconds(100_000), last: seconds(100_500) };
        let end = |at: &[u64], group_kills| {
            let kernel_says = at.iter().map(|at| word(*at, &format!("killed at {at}"))).collect();
            let traces = Traces { kernel_says, lived, group_kills, is_same_boot: Some(true), ..Traces::default() };
            let end = EndOfRun::of(&traces);
            (end.how, end.certainty, end.why)
        };
        let check = |at: &[u64], how, certainty, why: &str| {
            let found = end(at, None);
            assert_eq!((found.0, found.1), (how, certainty), "{at:?}: {}", found.2);
            assert!(found.2.contains(why), "{}", found.2);
        };
        use Certainty::{Likely, Sure};
        use How::{KilledForMemory, NotClean};
        // The log's clock may be late by 1%.
        check(&[98_999], NotClean, Sure, "without a word");
        check(&[99_000], KilledForMemory, Sure, "the kernel says: killed at 99000");
        check(&[100_620], KilledForMemory, Sure, "killed at 100620");
        check(&[100_621], KilledForMemory, Likely, "killed at 100621; that was long after its last record");
        // Of several, the one that fits; of those that fit, the last, as an id is free again only after.
        check(&[5, 100_501, 200_000], KilledForMemory, Sure, "killed at 100501");
        check(&[99_500, 100_501], KilledForMemory, Sure, "killed at 100501");
        check(&[100_800, 200_000], KilledForMemory, Likely, "killed at 100800");
        // The group knows better.
        assert_eq!(end(&[100_621], Some((3, 3))).0, NotClean);
        assert_eq!(end(&[100_620], Some((3, 3))).0, KilledForMemory);
        // Killed before it noted anything.
        let none = Traces {
            kernel_says: vec![word(100_119, "soon")],
            lived: Lived { begun: seconds(100_000), last: Duration::ZERO },
            ..Traces::default()
        };
        assert_eq!(EndOfRun::of(&none).certainty, Sure);
    }

    #[test]
    fn a_last_reading_near_the_limit_is_told_where_it_may_matter() {
        let reading = |usage| Reading {
            uptime: Duration::from_millis(12_340),
            cgroup: CgroupMemory { limit: Some(100 << 20), usage: Some(usage) },
            ..Reading::of_rss(0, 0)
        };
        let near = Traces { last: Some(reading(90 << 20)), ..Traces::default() };
        check(
            &near,
            "not_clean",
            "sure",
            "; its last reading, 12.3 s after its start, was 90.0 MiB of a limit of 100.0 MiB",
        );
        assert!(
            !EndOfRun::of(&Traces { last: Some(reading(89 << 20)), ..Traces::default() }).why.contains("last reading")
        );
        let clean = Traces { said: Some(How::Clean), ..near };
        assert!(!EndOfRun::of(&clean).why.contains("last reading"));
    }

    #[test]
    fn every_end_has_a_number_of_its_own() {
        for (at, how) in How::ALL.into_iter().enumerate() {
            assert_eq!(How::ALL.iter().position(|other| *other == how), Some(at));
        }
    }
}
