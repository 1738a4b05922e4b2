use super::*;
use crate::profile::{ByteSize, CgroupEvents, CgroupMemory, Pressure, Share};

const MIB: u64 = 1 << 20;
const OFF: Rules = Rules { growth: None, prediction: None, pressure: None, events: false };

fn reading(seconds: u64, rss_mib: u64) -> Reading {
    Reading::of_rss(seconds, rss_mib * MIB)
}

fn trigger_of(threshold: impl Into<Threshold>, rules: &Rules) -> Trigger {
    let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
    Trigger::new(threshold.into(), rules, [("queue_bytes", 10.0)], minute, second)
}

/// By the rules, with RSS's threshold at 100 MiB.
struct Case {
    trigger: Trigger,
    snapshots: u64,
}

impl Case {
    fn of(rules: Rules) -> Self {
        Self { trigger: trigger_of(ByteSize::mib(100), &rules), snapshots: 0 }
    }

    fn decide(&mut self, reading: &Reading, gauge: GaugeValue) -> Decision {
        let decision = self.trigger.decide(reading, &[Gauged { value: gauge, slow: None }]);
        if let Decision::Take(reason) = decision {
            self.taken(reason, reading);
        }
        decision
    }

    fn taken(&mut self, reason: Reason, reading: &Reading) {
        self.snapshots += 1;
        self.trigger.taken(self.snapshots, &reason, reading);
    }

    #[track_caller]
    fn check(&mut self, reading: &Reading, expect: &str) {
        assert_eq!(self.decide(reading, GaugeValue::Unknown).to_string(), expect);
    }

    /// The decision, and what the rule of that name says.
    #[track_caller]
    fn check_rule(&mut self, reading: &Reading, rule: &str, expect: &str) -> Decision {
        let decision = self.decide(reading, GaugeValue::Unknown);
        let said = self.trigger.said().iter().find(|said| said.rule == rule).expect("there is such a rule");
        assert_eq!(format!("{}: {said}", said.word()), expect);
        decision
    }

    #[track_caller]
    fn check_gauge(&mut self, seconds: u64, value: GaugeValue, expect: &str) {
        self.decide(&reading(seconds, 10), value);
        let said = self.trigger.said().last().expect("the gauges are last");
        assert_eq!(format!("{} {}: {said}", said.gauge.unwrap_or("none"), said.word()), expect);
    }
}

#[test]
fn fires_on_the_second_reading_above_and_then_once_a_minute() {
    let mut case = Case::of(OFF);
    case.check(&reading(0, 100), "not taken: RSS 100.0 MiB is not above the threshold 100.0 MiB");
    case.check(
        &reading(1, 101),
        "not taken: RSS 101.0 MiB is above the threshold 100.0 MiB on one reading, and it takes 2 in a row",
    );
    case.check(&reading(2, 102), "taken: RSS 102.0 MiB above the threshold 100.0 MiB");
    case.check(&reading(25, 102), "not taken: 37 s of the 60 s interval left");
    case.check(&reading(61, 102), "not taken: 1 s of the 60 s interval left");
    case.check(&reading(62, 103), "taken: RSS 103.0 MiB above the threshold 100.0 MiB");
}

#[test]
fn one_reading_below_starts_the_count_anew() {
    let mut case = Case::of(OFF);
    for seconds in 0..20 {
        let decision = case.decide(&reading(seconds, if seconds % 2 == 0 { 200 } else { 50 }), GaugeValue::Unknown);
        assert!(matches!(decision, Decision::Hold(_)), "{decision}");
    }
}

#[test]
fn a_snapshot_that_failed_is_asked_for_again() {
    let mut trigger = trigger_of(ByteSize::mib(100), &OFF);
    trigger.decide(&reading(0, 200), &[]);
    assert!(matches!(trigger.decide(&reading(1, 200), &[]), Decision::Take(_)));
    assert!(matches!(trigger.decide(&reading(2, 200), &[]), Decision::Take(_)));
}

#[test]
fn one_on_request_does_not_start_the_interval() {
    let mut case = Case::of(OFF);
    case.decide(&reading(0, 200), GaugeValue::Unknown);
    case.taken(Reason::Requested, &reading(0, 200));
    case.check(&reading(1, 200), "taken: RSS 200.0 MiB above the threshold 100.0 MiB");
}

#[test]
fn a_share_of_the_limit_needs_the_limit() {
    let mut trigger = trigger_of(Threshold::PercentOfLimit(50.0), &OFF);
    let mut with_limit = reading(0, 101);
    assert_eq!(
        trigger.decide(&with_limit, &[]).to_string(),
        "not taken: the threshold is 50% of the memory limit, and the limit is unknown"
    );
    assert_eq!(trigger.said()[0].word(), "unknown");
    with_limit.cgroup.limit = Some(200 * MIB);
    trigger.decide(&with_limit, &[]);
    assert!(matches!(trigger.decide(&with_limit, &[]), Decision::Take(_)));
}

#[test]
fn growth_is_since_the_last_snapshot_whatever_that_was_for() {
    let mut case = Case::of(Rules { growth: Some(Growth::Percent(20.0)), ..OFF });
    let rule = "rss_growth";
    case.check_rule(&reading(0, 50), rule, "holds: RSS 50.0 MiB is not 20% above the 50.0 MiB of the first reading");
    case.check_rule(&reading(1, 59), rule, "holds: RSS 59.0 MiB is not 20% above the 50.0 MiB of the first reading");
    case.check_rule(
        &reading(2, 60),
        rule,
        "holds: RSS 60.0 MiB has grown from the 50.0 MiB of the first reading on one reading, and it takes 2 in a row",
    );
    let decision = case.check_rule(
        &reading(3, 60),
        rule,
        "fires: RSS 60.0 MiB is 10.0 MiB above the 50.0 MiB of the first reading",
    );
    assert_eq!(decision, Decision::Take(Reason::RssGrowth { rss: 60 * MIB, from: 50 * MIB, since: None }));
    case.check_rule(&reading(4, 60), rule, "holds: RSS 60.0 MiB is not 20% above the 60.0 MiB of snapshot 1");
    // Down and up again to where it was is no growth.
    case.check_rule(&reading(5, 30), rule, "holds: RSS 30.0 MiB is not 20% above the 60.0 MiB of snapshot 1");
    case.check_rule(&reading(6, 60), rule, "holds: RSS 60.0 MiB is not 20% above the 60.0 MiB of snapshot 1");
    case.taken(Reason::Requested, &reading(7, 40));
    case.decide(&reading(70, 48), GaugeValue::Unknown);
    let decision =
        case.check_rule(&reading(71, 48), rule, "fires: RSS 48.0 MiB is 8.0 MiB above the 40.0 MiB of snapshot 2");
    assert!(matches!(decision, Decision::Take(Reason::RssGrowth { since: Some(2), .. })), "{decision}");
}

#[test]
fn growth_by_bytes_has_its_boundary_at_the_byte() {
    let growth = Some(ByteSize::mib(10).into());
    let grown = |by: u64| {
        let mut case = Case::of(Rules { growth, ..OFF });
        let at = |seconds, rss| Reading::of_rss(seconds, rss);
        case.decide(&at(0, 50 * MIB), GaugeValue::Unknown);
        case.decide(&at(1, 50 * MIB + by), GaugeValue::Unknown);
        matches!(case.decide(&at(2, 50 * MIB + by), GaugeValue::Unknown), Decision::Take(_))
    };
    assert!(!grown(10 * MIB - 1));
    assert!(grown(10 * MIB));
    // A share of little rounds down to nothing.
    let mut case = Case::of(Rules { growth: Some(Growth::Percent(0.1)), ..OFF });
    for seconds in 0..5 {
        assert!(matches!(case.decide(&Reading::of_rss(seconds, 10), GaugeValue::Unknown), Decision::Hold(_)));
    }
}

fn with_pressure(seconds: u64, avg10: u32) -> Reading {
    let mut pressure = Pressure::default();
    pressure.some.avg10 = Share(avg10);
    // What a rule that mixes them up would see.
    (pressure.some.avg60, pressure.full.avg10) = (Share(10_000), Share(10_000));
    Reading { pressure: Some(pressure), ..reading(seconds, 10) }
}

#[test]
fn pressure_fires_above_its_threshold_at_once() {
    let mut case = Case::of(Rules { pressure: Some(10.0), ..OFF });
    let rule = "memory_pressure";
    case.check_rule(&reading(0, 10), rule, "unknown: the kernel tells no memory pressure (PSI)");
    let low = "holds: some task waited for memory in 10.00% of the last 10 s, not above 10%";
    case.check_rule(&with_pressure(1, 1000), rule, low);
    let high = "fires: some task waited for memory in 10.01% of the last 10 s, above 10%";
    let decision = case.check_rule(&with_pressure(2, 1001), rule, high);
    assert_eq!(decision, Decision::Take(Reason::MemoryPressure { percent: 10.01, threshold: 10.0 }));
    // Behind the same limit as all others.
    let decision = case.check_rule(&with_pressure(61, 1001), rule, high);
    assert_eq!(decision.to_string(), "not taken: 1 s of the 60 s interval left");
    let decision = case.check_rule(&with_pressure(62, 1001), rule, high);
    assert!(matches!(decision, Decision::Take(_)));
    let mut off = Case::of(OFF);
    off.check_rule(&with_pressure(0, 9000), rule, "off: switched off; HEAPWARD_TRIGGER_PRESSURE switches it on");
}

fn with_events(seconds: u64, high: Option<u64>, oom: Option<u64>, oom_kill: Option<u64>) -> Reading {
    let (low, max) = (Some(seconds), Some(seconds * 7));
    Reading { events: CgroupEvents { low, high, max, oom, oom_kill }, ..reading(seconds, 10) }
}

#[test]
fn events_fire_when_they_rose_since_the_last_snapshot() {
    let mut case = Case::of(Rules { events: true, ..OFF });
    let rule = "cgroup_event";
    let unknown = "unknown: the kernel tells none of high, oom and oom_kill of the control group";
    case.check_rule(&reading(0, 10), rule, unknown);
    let none = "holds: none of high, oom and oom_kill was counted since the last snapshot";
    // What was counted before this process looked is not its story; low and max rise all the time.
    case.check_rule(&with_events(1, Some(40), Some(3), None), rule, none);
    case.check_rule(&with_events(2, Some(40), Some(3), None), rule, none);
    let fires = |event: &str, count: u64| {
        format!("fires: the control group's memory event {event} was counted {count} times since the last snapshot")
    };
    let decision = case.check_rule(&with_events(3, Some(41), Some(3), None), rule, &fires("high", 1));
    assert_eq!(decision, Decision::Take(Reason::CgroupEvent { event: "high", count: 1 }));
    case.check_rule(&with_events(4, Some(41), Some(3), None), rule, none);
    // Within the interval nothing is forgotten, and the worst is told.
    case.check_rule(&with_events(5, Some(50), Some(3), None), rule, &fires("high", 9));
    let decision = case.check_rule(&with_events(6, Some(50), Some(5), None), rule, &fires("oom", 2));
    assert_eq!(decision.to_string(), "not taken: 57 s of the 60 s interval left");
    let decision = case.check_rule(&with_events(63, Some(50), Some(5), None), rule, &fires("oom", 2));
    assert_eq!(decision, Decision::Take(Reason::CgroupEvent { event: "oom", count: 2 }));
    // Another group: it counts from anew. A reading without the figures forgets nothing.
    case.check_rule(&with_events(64, Some(2), Some(0), Some(0)), rule, none);
    case.check_rule(&reading(65, 10), rule, unknown);
    case.check_rule(&with_events(66, Some(2), Some(0), Some(1)), rule, &fires("oom_kill", 1));
    let mut off = Case::of(OFF);
    off.decide(&with_events(0, Some(0), None, None), GaugeValue::Unknown);
    let expect = "off: switched off; HEAPWARD_TRIGGER_EVENTS switches it on";
    off.check_rule(&with_events(1, Some(9), None, None), rule, expect);
}

#[test]
fn a_gauge_fires_on_the_second_reading_above() {
    let mut case = Case::of(OFF);
    let known = GaugeValue::Known;
    case.check_gauge(0, known(10.0), "queue_bytes holds: 10 is not above 10");
    case.check_gauge(1, known(10.5), "queue_bytes holds: 10.5 is above 10 on one reading, and it takes 2 in a row");
    case.check_gauge(2, GaugeValue::Unknown, "queue_bytes unknown: it has no value now");
    case.check_gauge(3, known(10.5), "queue_bytes holds: 10.5 is above 10 on one reading, and it takes 2 in a row");
    case.check_gauge(4, GaugeValue::Panicked, "queue_bytes unknown: its function panicked");
    case.check_gauge(
        5,
        known(f64::INFINITY),
        "queue_bytes holds: inf is above 10 on one reading, and it takes 2 in a row",
    );
    assert_eq!(case.snapshots, 0);
    case.check_gauge(6, known(11.0), "queue_bytes fires: the gauge queue_bytes is 11, above 10");
    assert_eq!(case.snapshots, 1);
    let slow = Gauged { value: known(1.0), slow: Some(Duration::from_millis(1250)) };
    case.trigger.decide(&reading(7, 10), &[slow]);
    let said = case.trigger.said().last().unwrap().to_string();
    assert_eq!(said, "1 is not above 10; its function took 1.25 s, and no poll comes while it runs");
}

#[test]
fn prediction_needs_a_limit_and_two_readings_in_a_row() {
    let mut case = Case::of(Rules { prediction: Some(Duration::from_secs(600)), ..OFF });
    let rule = "limit_predicted";
    case.check_rule(&reading(0, 10), rule, "unknown: the memory limit or what is used of it is unknown");
    let mut fired = None;
    for seconds in 1..200 {
        let cgroup = CgroupMemory { limit: Some(512 * MIB), usage: Some((100 + 2 * seconds) * MIB) };
        let reading = Reading { cgroup, ..reading(seconds, 10) };
        let decision = case.decide(&reading, GaugeValue::Unknown);
        if let Decision::Take(Reason::LimitPredicted { usage, limit, within }) = decision {
            // The truth is known here.
            let truth = (512 - (100 + 2 * seconds)) as f64 / 2.0;
            assert!((within.as_secs_f64() - truth).abs() < 2.0, "{within:?} and {truth}");
            assert_eq!((usage, limit), ((100 + 2 * seconds) * MIB, 512 * MIB));
            assert_eq!(case.trigger.predicted(), Some(within));
            fired = fired.or(Some(seconds));
        }
    }
    // A third of the way from 102 to 512 MiB is 137 MiB, which are 69 s.
    assert!(fired.is_some_and(|seconds| (69..110).contains(&seconds)), "{fired:?}");
    // A limit that is gone ends it, also the gauge.
    case.check_rule(&reading(200, 10), rule, "unknown: the memory limit or what is used of it is unknown");
    assert_eq!(case.trigger.predicted(), None);
}

#[test]
fn a_prediction_that_is_switched_off_is_still_a_gauge() {
    let mut case = Case::of(OFF);
    for seconds in 1..200 {
        let cgroup = CgroupMemory { limit: Some(512 * MIB), usage: Some((100 + 2 * seconds) * MIB) };
        let off = "off: switched off; HEAPWARD_TRIGGER_PREDICTION switches it on";
        case.check_rule(&Reading { cgroup, ..reading(seconds, 10) }, "limit_predicted", off);
    }
    assert!(case.trigger.predicted().is_some());
    assert_eq!(case.snapshots, 0);
}

#[test]
fn of_several_the_one_that_tells_most_is_the_reason() {
    let rules = Rules { growth: Some(Growth::Percent(1.0)), pressure: Some(10.0), events: true, prediction: None };
    let mut all = with_events(1, Some(9), Some(0), None);
    all.pressure = with_pressure(1, 5000).pressure;
    all.process.rss = 200 * MIB;
    let reason = |without: fn(&mut Reading), gauge: GaugeValue| {
        let mut case = Case::of(rules);
        let mut first = with_events(0, Some(8), Some(0), None);
        first.process.rss = 150 * MIB;
        case.decide(&first, gauge);
        let mut second = all;
        without(&mut second);
        case.trigger.decide(&second, &[Gauged { value: gauge, slow: None }]);
        match case.decide(&second, gauge) {
            Decision::Take(reason) => reason.name(),
            Decision::Hold(_) => "none",
        }
    };
    let above = GaugeValue::Known(11.0);
    assert_eq!(reason(|_| (), above), "cgroup_event");
    assert_eq!(reason(|r| r.events = CgroupEvents::default(), above), "memory_pressure");
    let quiet = |r: &mut Reading| (r.events, r.pressure) = (CgroupEvents::default(), None);
    assert_eq!(reason(quiet, above), "gauge_above_threshold");
    assert_eq!(reason(quiet, GaugeValue::Unknown), "rss_growth");
    let flat = |r: &mut Reading| {
        (r.events, r.pressure) = (CgroupEvents::default(), None);
        r.process.rss = 150 * MIB;
    };
    assert_eq!(reason(flat, GaugeValue::Unknown), "rss_above_threshold");
}
