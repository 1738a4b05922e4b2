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
    /// The kernel's own words for having killed it.
    pub(crate) kernel_says: Option<String>,
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
        if let Some(words) = &traces.kernel_says {
            return (How::KilledForMemory, Certainty::Sure, format!("the kernel says: {words}"));
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
            kernel_says: Some("Killed process 7".to_owned()),
            is_same_boot: Some(true),
            ..Traces::default()
        };
        check(&Traces { said: Some(How::Clean), ..killed.clone() }, "clean", "sure", "shut down");
        check(&Traces { said: Some(How::Panic), ..killed.clone() }, "panic", "sure", "by a panic");
        check(&killed, "killed_for_memory", "sure", "the kernel says: Killed process 7");
        let killed = Traces { kernel_says: None, ..killed };
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
