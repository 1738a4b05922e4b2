use super::*;
use crate::profile::CgroupMemory;

const MIB: u64 = 1 << 20;
/// A limit of which every per cent and every hundredth of one is a whole number of bytes.
const LIMIT: u64 = 10_000 * MIB;

/// One reading a second.
struct Clock {
    rule: AlertRule,
    seconds: u64,
    machine: MachineMemory,
    snapshot: Option<u64>,
}

impl Clock {
    fn new(threshold: &str, after: u32) -> Self {
        let rule = AlertRule::new(threshold.parse().unwrap(), after);
        Self { rule, seconds: 0, machine: MachineMemory::default(), snapshot: None }
    }

    /// Bytes that the control group uses, of [`LIMIT`].
    fn read(&mut self, usage: u64) -> Option<Alarm> {
        let reading = reading(self.seconds, 0, Some(LIMIT), Some(usage));
        self.seconds += 1;
        self.rule.observe(&reading, &self.machine, self.snapshot)
    }

    /// Hundredths of a per cent.
    fn at(&mut self, hundredths: u64) -> Option<Alarm> {
        self.read(hundredths * MIB)
    }

    #[track_caller]
    fn silent(&mut self, readings: u32, hundredths: u64) {
        for reading in 0..readings {
            let alarm = self.at(hundredths);
            assert_eq!(alarm, None, "reading {reading} at {hundredths}: {}", self.rule.standing());
        }
    }

    #[track_caller]
    fn told(&mut self, hundredths: u64, change: AlertChange, severity: Severity) -> Alarm {
        let alarm = self.at(hundredths).unwrap_or_else(|| panic!("told at {hundredths}: {}", self.rule.standing()));
        assert_eq!((alarm.change, alarm.severity), (change, severity), "at {hundredths}");
        alarm
    }
}

fn reading(seconds: u64, rss: u64, limit: Option<u64>, usage: Option<u64>) -> Reading {
    Reading {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds),
        cgroup: CgroupMemory { limit, usage },
        ..Reading::of_rss(seconds, rss)
    }
}

use AlertChange::{Opened, Raised, Resolved, Unchanged, Updated};
use Severity::{High, Low, Medium};

/// The severity of one reading of so many bytes.
#[track_caller]
fn check(threshold: &str, usage: u64, expect: Option<Severity>) {
    let reading = reading(0, 0, Some(LIMIT), Some(usage));
    let memory = MemoryUse::of(&reading, &MachineMemory::default(), threshold.parse().unwrap()).unwrap();
    assert_eq!(memory.severity(), expect, "{usage} bytes, {memory}, threshold {threshold}");
}

#[test]
fn severity_at_each_boundary() {
    let percent = |percent: u64| percent * 100 * MIB;
    for threshold in ["70%", "7000MiB"] {
        check(threshold, 0, None);
        check(threshold, percent(70) - 1, None);
        check(threshold, percent(70), None);
        check(threshold, percent(70) + 1, Some(Low));
        check(threshold, percent(75) - 1, Some(Low));
        check(threshold, percent(75), Some(Medium));
        check(threshold, percent(85), Some(Medium));
        check(threshold, percent(85) + 1, Some(High));
        check(threshold, percent(95), Some(High));
        check(threshold, percent(200), Some(High));
    }
    // Ten points above 85% it is over 95% of the limit.
    for threshold in ["85%", "8500MiB"] {
        check(threshold, percent(85), None);
        check(threshold, percent(85) + 1, Some(Low));
        check(threshold, percent(90) - 1, Some(Low));
        check(threshold, percent(90), Some(Medium));
        check(threshold, percent(95), Some(Medium));
        check(threshold, percent(95) + 1, Some(High));
    }
    // Above a threshold that is above 95%, nothing is less than high.
    check("97%", percent(97), None);
    check("97%", percent(97) + 1, Some(High));
    check("95%", percent(95) + 1, Some(High));
}

#[test]
fn the_higher_one_of_rss_and_the_groups_use_counts() {
    let machine = |total, swap| MachineMemory { total, swap };
    let check = |rss, limit, usage, total, expect: Option<(u64, Option<(u64, LimitOf)>)>| {
        let memory =
            MemoryUse::of(&reading(0, rss, limit, usage), &machine(total, None), Threshold::PercentOfLimit(50.0));
        assert_eq!(memory.map(|memory| (memory.used(), memory.limit)), expect);
    };
    let (cgroup, whole) = (|limit| Some((limit, LimitOf::Cgroup)), |limit| Some((limit, LimitOf::Machine)));
    check(10, Some(100), Some(20), None, Some((20, cgroup(100))));
    check(30, Some(100), Some(20), None, Some((30, cgroup(100))));
    check(30, Some(100), None, None, Some((30, cgroup(100))));
    // A limit that is larger than the machine is none.
    check(30, Some(100), Some(20), Some(100), Some((30, cgroup(100))));
    check(10, Some(100), Some(20), Some(99), Some((20, whole(99))));
    // What others use is not ours to answer for.
    check(10, None, Some(90), Some(100), Some((10, whole(100))));
    check(10, None, Some(90), None, None);
    check(10, Some(0), Some(90), None, None);
}

#[test]
fn a_threshold_in_bytes_needs_no_limit() {
    let threshold = Threshold::Bytes(ByteSize::bytes(1000));
    let severity = |rss| {
        let memory = MemoryUse::of(&reading(0, rss, None, Some(9999)), &MachineMemory::default(), threshold).unwrap();
        (memory.severity(), memory.percent())
    };
    // Points are then those of the threshold.
    let expect = [(1000, None), (1001, Some(Low)), (1049, Some(Low)), (1050, Some(Medium)), (1150, Some(Medium))];
    for (rss, expect) in expect.into_iter().chain([(1151, Some(High)), (u64::MAX, Some(High))]) {
        assert_eq!(severity(rss), (expect, None), "{rss}");
    }
}

#[test]
fn it_takes_readings_in_a_row() {
    for after in 1..=5 {
        let clock = &mut Clock::new("85%", after);
        clock.silent(20, 8500);
        clock.silent(after - 1, 8501);
        // One that is not above ends the row.
        clock.silent(1, 8500);
        clock.silent(after - 1, 8501);
        let alarm = clock.told(8501, Opened, Low);
        assert_eq!((alarm.number, alarm.lasted), (1, Duration::from_secs(u64::from(after) - 1)));
        assert_eq!(alarm.started, alarm.time - alarm.lasted, "it began with the first of them");
        clock.silent(10, 8501);
    }
    // None is not a number of readings.
    Clock::new("85%", 0).told(8501, Opened, Low);
}

#[test]
fn every_other_reading_is_not_a_row() {
    let clock = &mut Clock::new("85%", 2);
    for _ in 0..100 {
        clock.silent(1, 9900);
        clock.silent(1, 8500);
    }
}

#[test]
fn a_severity_counts_when_enough_readings_had_it() {
    // Each time, the mildest of the last three counts.
    let clock = &mut Clock::new("85%", 3);
    clock.silent(2, 9900);
    clock.told(8600, Opened, Low);
    clock.silent(1, 9200);
    clock.silent(1, 9900);
    clock.told(9000, Raised, Medium);
    clock.silent(2, 9501);
    clock.silent(1, 9500);
    clock.silent(2, 9501);
    let alarm = clock.told(9502, Raised, High);
    assert_eq!((alarm.number, alarm.peak.used()), (1, 9900 * MIB), "one alert, with its peak");
    // It does not go down before it is over.
    clock.silent(20, 8600);
    clock.silent(20, 9900);

    let clock = &mut Clock::new("70%", 3);
    clock.silent(2, 8600);
    clock.told(8600, Opened, High);
    let clock = &mut Clock::new("70%", 3);
    clock.silent(2, 8600);
    clock.told(8500, Opened, Medium);
}

#[test]
fn it_is_over_well_below_the_threshold_and_after_as_many_readings() {
    for after in 1..=4 {
        let clock = &mut Clock::new("85%", after);
        clock.silent(after - 1, 8600);
        clock.told(8600, Opened, Low);
        clock.silent(20, 8500);
        // Exactly five points below is not yet clear.
        clock.silent(20, 8000);
        clock.silent(after - 1, 7999);
        clock.silent(1, 8000);
        clock.silent(after - 1, 7999);
        let alarm = clock.told(7999, Resolved, Low);
        assert_eq!((alarm.number, alarm.peak.used(), alarm.memory.used()), (1, 8600 * MIB, 7999 * MIB));
        clock.silent(200, 7999);
        // The next one is another.
        clock.silent(after - 1, 9600);
        assert_eq!(clock.told(9600, Opened, High).number, 2);
    }
}

#[test]
fn a_low_threshold_can_be_left_too() {
    // 100 MiB are 1% of the limit; five points below there is nothing.
    let clock = &mut Clock::new("100MiB", 1);
    clock.told(101, Opened, Low);
    clock.silent(5, 90);
    assert_eq!(clock.read(90 * MIB - 1).map(|alarm| alarm.change), Some(Resolved));
}

#[test]
fn it_is_told_again_each_minute_until_it_is_over() {
    let clock = &mut Clock::new("85%", 3);
    clock.silent(2, 8600);
    clock.told(8600, Opened, Low);
    for _ in 0..30 {
        clock.silent(59, 8600);
        clock.told(8600, Unchanged, Low);
    }
    clock.silent(2, 7000);
    clock.told(7000, Resolved, Low);
    clock.silent(1000, 7000);
}

#[test]
fn a_snapshot_a_minute_is_not_a_message_a_minute() {
    let clock = &mut Clock::new("85%", 1);
    clock.snapshot = Some(7);
    assert_eq!(clock.told(8600, Opened, Low).snapshot, Some(7));
    clock.silent(5, 8600);
    clock.snapshot = Some(8);
    assert_eq!(clock.told(8600, Updated, Low).snapshot, Some(8), "the first one at once");
    let mut changes = Vec::new();
    for second in 1..=3600 {
        if second % 60 == 0 {
            clock.snapshot = clock.snapshot.map(|id| id + 1);
        }
        changes.extend(clock.at(8600).map(|alarm| (alarm.change, second, alarm.snapshot)));
    }
    let updates: Vec<_> = changes.iter().filter(|(change, ..)| *change == Updated).collect();
    assert_eq!(updates.iter().map(|(_, second, _)| *second).collect::<Vec<_>>(), [600, 1200, 1800, 2400, 3000, 3600]);
    assert_eq!(updates[0].2, Some(18), "with the newest");
    let beats = changes.iter().filter(|(change, ..)| *change == Unchanged).count();
    assert_eq!(beats, 54, "a minute after whatever was told last");
    // What is worse does not wait.
    clock.told(9300, Raised, Medium);
}

#[test]
fn an_alert_that_cannot_be_judged_is_told_again_each_minute() {
    let clock = &mut Clock::new("85%", 1);
    assert_eq!(clock.rule.go_without(Duration::from_secs(500), None), None, "nothing to repeat");
    let opened = clock.told(8600, Opened, Low);
    clock.snapshot = Some(7);
    // The group's files cannot be read, or say of no limit: for an hour each, a poll a second.
    for failure in 0..2 {
        let from = clock.seconds;
        let mut beats = Vec::new();
        for second in from..from + 3600 {
            let alarm = match failure {
                0 => clock.rule.go_without(Duration::from_secs(second), clock.snapshot),
                _ => clock.rule.observe(&reading(second, 0, None, Some(1)), &clock.machine, clock.snapshot),
            };
            beats.extend(alarm.map(|alarm| (second - from, alarm)));
        }
        clock.seconds += 3600;
        assert_eq!(beats.len(), 60);
        assert!(beats.windows(2).all(|pair| pair[1].0 == pair[0].0 + 60), "{failure}");
        let (second, last) = beats[59];
        assert_eq!((last.number, last.change, last.severity, last.snapshot), (1, Unchanged, Low, Some(7)));
        assert_eq!((last.memory, last.time), (opened.memory, opened.time), "what was known last");
        assert_eq!(last.unread, Some(Duration::from_secs(from + second)));
        let standing = clock.rule.standing().to_string();
        assert!(
            standing.starts_with("an alert, low, as nothing says that it is over: memory use was 8.4 GiB"),
            "{standing}"
        );
    }
    // The next reading counts as if nothing had been.
    assert_eq!(clock.told(8600, Updated, Low).unread, None);
    assert_eq!(clock.told(7000, Resolved, Low).number, 1);
    assert_eq!(clock.rule.go_without(Duration::from_secs(100_000), None), None);
}

#[test]
fn without_a_limit_a_share_says_nothing_and_forgets_nothing() {
    let clock = &mut Clock::new("85%", 2);
    clock.silent(1, 8600);
    let unlimited = reading(50, 0, None, Some(9999 * MIB));
    assert_eq!(clock.rule.observe(&unlimited, &clock.machine, None), None);
    assert_eq!(
        clock.rule.standing().to_string(),
        "no alert: the threshold is 85% of the memory limit, and the limit is unknown"
    );
    clock.told(8600, Opened, Low);
}

#[test]
fn the_rule_says_where_it_stands() {
    let clock = &mut Clock::new("85%", 3);
    assert_eq!(clock.rule.standing().to_string(), "no alert: nothing has been read yet");
    let standing = |clock: &mut Clock, hundredths| {
        clock.at(hundredths);
        clock.rule.standing().to_string()
    };
    assert_eq!(
        standing(clock, 8500),
        "no alert: memory use is 8.3 GiB, 85.0% of the memory limit of 9.8 GiB, not above the threshold of 8.3 GiB"
    );
    standing(clock, 8600);
    assert!(standing(clock, 8600).ends_with("on 2 readings in a row, and it takes 3"));
    assert!(standing(clock, 8600).starts_with("an alert, low: memory use is 8.4 GiB, 86.0%"));
    assert!(
        standing(clock, 7000).ends_with("well below the threshold of 8.3 GiB on 1 readings in a row, and it takes 3")
    );
    standing(clock, 7000);
    assert!(standing(clock, 7000).starts_with("no alert: memory use is 6.8 GiB"));
}

#[test]
fn the_swap_of_the_reading_is_told() {
    let clock = &mut Clock::new("85%", 1);
    clock.machine.swap = Some(SwapUse { total: 100, used: 51 });
    assert_eq!(clock.told(8600, Opened, Low).swap, Some(SwapUse { total: 100, used: 51 }));
}
