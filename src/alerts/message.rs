//! An alert in words.

use std::fmt::Write;
use std::time::Duration;

use crate::policy::{Alarm, AlertChange};
use crate::profile::ByteSize;

/// Swap in use above which it is worth a word, in percent.
const SWAP_PERCENT: u64 = 50;

/// One sentence, without where the memory is.
pub(super) fn message(alarm: &Alarm) -> String {
    let Alarm { memory, peak, .. } = alarm;
    let mut text = match alarm.unread {
        None => format!("memory use is {memory}"),
        Some(unread) => format!("memory use was {memory} {} ago and could not be judged since", in_words(unread)),
    };
    let threshold = ByteSize::bytes(memory.threshold);
    match (memory.percent(), memory.threshold_percent()) {
        (Some(percent), Some(of_limit)) => {
            let points = percent - of_limit;
            let side = if points > 0.0 { "above" } else { "below" };
            _ = write!(text, ", {:.1} points {side} the alert threshold of {of_limit:.1}% ({threshold})", points.abs());
        }
        _ => {
            let side = if memory.used() > memory.threshold { "above" } else { "below" };
            _ = write!(text, ", {side} the alert threshold of {threshold}");
        }
    }
    if memory.usage.is_some_and(|usage| usage > memory.rss) {
        _ = write!(text, "; RSS of this process is {}", ByteSize::bytes(memory.rss));
    }
    if peak.used() > memory.used() {
        _ = write!(text, "; at most it was {peak}");
    }
    if let Some(swap) = alarm.swap.filter(|swap| swap.is_over(SWAP_PERCENT)) {
        _ = write!(text, "; {:.1}% of the swap of {} is in use", swap.percent(), ByteSize::bytes(swap.total));
    }
    let lasted = in_words(alarm.lasted);
    _ = match alarm.change {
        AlertChange::Resolved => write!(text, "; over after {lasted}"),
        _ => write!(text, "; for {lasted} so far"),
    };
    text
}

fn in_words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::testing::alarm;
    use crate::profile::SwapUse;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Alarm), expect: &str) {
        let mut alarm = alarm(1, AlertChange::Opened);
        change(&mut alarm);
        assert_eq!(message(&alarm), expect);
    }

    #[test]
    fn a_sentence_has_what_counts() {
        check(
            |_| {},
            "memory use is 910.0 MiB, 91.0% of the memory limit of 1000.0 MiB, 6.0 points above the alert threshold of 85.0% \
             (850.0 MiB); RSS of this process is 900.0 MiB; for 2 s so far",
        );
        let over = |alarm: &mut Alarm| {
            alarm.change = AlertChange::Resolved;
            (alarm.memory.rss, alarm.memory.usage) = (700 << 20, Some(650 << 20));
            alarm.lasted = Duration::from_secs(7300);
        };
        check(
            over,
            "memory use is 700.0 MiB, 70.0% of the memory limit of 1000.0 MiB, 15.0 points below the alert threshold of 85.0% \
             (850.0 MiB); at most it was 910.0 MiB, 91.0% of the memory limit of 1000.0 MiB; over after 2 h 1 min",
        );
        let unlimited = |alarm: &mut Alarm| {
            (alarm.memory.usage, alarm.memory.limit) = (None, None);
            alarm.lasted = Duration::from_secs(150);
            alarm.peak = alarm.memory;
        };
        check(unlimited, "memory use is 900.0 MiB, above the alert threshold of 850.0 MiB; for 2 min so far");
        let unread = |alarm: &mut Alarm| {
            unlimited(alarm);
            alarm.unread = Some(Duration::from_secs(240));
        };
        check(
            unread,
            "memory use was 900.0 MiB 4 min ago and could not be judged since, above the alert threshold of 850.0 MiB; for \
             2 min so far",
        );
    }

    #[test]
    fn swap_is_worth_a_word_when_more_than_half_is_in_use() {
        let message = |used| {
            let mut alarm = alarm(1, AlertChange::Opened);
            alarm.swap = Some(SwapUse { total: 2 << 30, used });
            message(&alarm)
        };
        assert!(!message(1 << 30).contains("swap"));
        let more = message((1 << 30) + (1 << 24));
        assert!(more.ends_with("; 50.8% of the swap of 2.0 GiB is in use; for 2 s so far"), "{more}");
    }
}
