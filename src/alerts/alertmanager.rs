//! Alertmanager's API, version 2: <https://prometheus.io/docs/alerting/latest/alerts_api/>.
//!
//! Alertmanager knows an alert by its labels, and severity is one of them, so that people can route by it. An alert that got
//! worse is another one there, and the milder one is ended in the same request. Grouped by `alertname` and `instance`, both are
//! one notification.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Alert;
use super::alert::utc;
use crate::policy::{HEARTBEAT, Severity};

/// The name that all alerts of heapward have.
pub(super) const ALERT_NAME: &str = "HeapwardMemoryUse";

/// Where alerts are posted, below the address.
pub(super) const PATH: &str = "/api/v2/alerts";

/// How long an alert lives there that nobody repeats: four heartbeats, as Prometheus does it, or as many polls where those
/// are rarer, as a heartbeat comes with a poll.
pub(super) fn validity(poll_interval: Duration) -> Duration {
    4 * HEARTBEAT.max(poll_interval)
}

/// What Alertmanager may hold for firing: for each severity, when it began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    firing: [Option<SystemTime>; Severity::ALL.len()],
    /// How long it holds what nobody repeats.
    valid: Duration,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

impl Told {
    /// Nothing so far, and what will be is to be held for so long.
    pub(super) fn new(valid: Duration) -> Self {
        Self { firing: Default::default(), valid }
    }

    /// The body of a request that is sent `now`; from here on Alertmanager may know of it.
    pub(super) fn post(&mut self, alert: &Alert, now: SystemTime) -> Vec<u8> {
        if !alert.is_over() {
            self.firing[alert.severity.index()] = Some(alert.started);
        }
        let mut all = Vec::new();
        for (severity, started) in Severity::ALL.into_iter().zip(self.firing) {
            let is_this = severity == alert.severity;
            let Some(started) = started.or(is_this.then_some(alert.started)) else { continue };
            let ends = if is_this && !alert.is_over() { now + self.valid } else { alert.time.max(started) };
            all.push(Posted {
                labels: labels(alert, severity),
                annotations: annotations(alert),
                starts_at: utc(started),
                ends_at: utc(ends),
                generator_url: alert.url.as_deref(),
            });
        }
        // Strings, numbers and lists: nothing that can fail.
        serde_json::to_vec(&all).unwrap_or_default()
    }

    /// Alertmanager has taken `alert`.
    pub(super) fn taken(&mut self, alert: &Alert) {
        for (severity, started) in Severity::ALL.into_iter().zip(&mut self.firing) {
            if alert.is_over() || severity != alert.severity {
                *started = None;
            }
        }
    }
}

fn labels(alert: &Alert, severity: Severity) -> BTreeMap<&str, &str> {
    let mut labels: BTreeMap<&str, &str> = alert.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    labels.insert("alertname", ALERT_NAME);
    labels.insert("severity", severity.name());
    labels
}

fn annotations(alert: &Alert) -> BTreeMap<&str, String> {
    let mut annotations = BTreeMap::from([
        ("summary", alert.message.clone()),
        ("description", alert.story()),
        ("alert_id", alert.id.clone()),
    ]);
    let optional = [
        ("snapshot", alert.snapshot.map(|id| id.to_string())),
        ("snapshot_url", alert.snapshot_url.clone()),
        ("leaks", alert.leaks.as_ref().map(ToString::to_string)),
    ];
    annotations.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::testing::{alert, now};
    use crate::policy::AlertChange;
    use serde_json::{Value, json};

    fn nothing_told() -> Told {
        Told::new(validity(Duration::from_secs(1)))
    }

    #[test]
    fn an_alert_outlives_polls_that_are_rare() {
        for (poll, valid) in [(0, 240), (1, 240), (60, 240), (61, 244), (300, 1200), (3600, 14_400)] {
            let (poll, valid) = (Duration::from_secs(poll), Duration::from_secs(valid));
            assert_eq!(validity(poll), valid);
            let body: Value =
                serde_json::from_slice(&Told::new(valid).post(&alert(1, AlertChange::Opened), now())).unwrap();
            assert_eq!(body[0]["endsAt"], utc(now() + valid));
        }
    }

    /// Severity, start and end of all that is posted.
    fn post(told: &mut Told, alert: &Alert, later: u64) -> Vec<(String, String, String)> {
        let posted: Value =
            serde_json::from_slice(&told.post(alert, now() + Duration::from_secs(later))).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let one = |one: &Value| (text(&one["labels"]["severity"]), text(&one["startsAt"]), text(&one["endsAt"]));
        posted.as_array().expect("a list").iter().map(one).collect()
    }

    fn expect(all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        let time = |time: &str| format!("2023-11-14T22:{time}.000Z");
        all.iter().map(|(severity, from, to)| ((*severity).to_owned(), time(from), time(to))).collect()
    }

    #[test]
    fn a_request_is_what_the_api_wants() {
        let mut alert = alert(1, AlertChange::Opened);
        alert.id = "5-6-1".to_owned();
        let body: Value = serde_json::from_slice(&nothing_told().post(&alert, now())).unwrap();
        let expect = json!([{
            "labels": {"alertname": "HeapwardMemoryUse", "severity": "medium", "instance": "host:1", "job": "shop"},
            "annotations": {
                "summary": alert.message,
                "description": alert.message,
                "alert_id": "5-6-1",
                "snapshot": "7",
                "snapshot_url": "http://127.0.0.1:6060/api/snapshots/7",
            },
            "startsAt": "2023-11-14T22:13:20.000Z",
            "endsAt": "2023-11-14T22:17:22.000Z",
            "generatorURL": "http://127.0.0.1:6060/api/alerts",
        }]);
        assert_eq!(body, expect);
    }

    #[test]
    fn one_that_got_worse_ends_the_milder_one_until_that_is_known() {
        let told = &mut nothing_told();
        let firing = alert(1, AlertChange::Opened);
        assert_eq!(post(told, &firing, 0), expect(&[("medium", "13:20", "17:22")]));
        told.taken(&firing);
        let worse = Alert { severity: Severity::High, ..firing.clone() };
        let both = [("medium", "13:20", "13:22"), ("high", "13:20", "17:32")];
        assert_eq!(post(told, &worse, 10), expect(&both));
        // That failed, or its answer was lost.
        assert_eq!(post(told, &worse, 10), expect(&both));
        told.taken(&worse);
        assert_eq!(post(told, &worse, 10), expect(&both[1..]));
        let over = Alert { severity: Severity::High, ..alert(1, AlertChange::Resolved) };
        assert_eq!(post(told, &over, 60), expect(&[("high", "13:20", "13:22")]));
        told.taken(&over);
        assert_eq!(*told, nothing_told());
        // The end is told also of one that never arrived: it says that there was one.
        assert_eq!(post(told, &over, 60).len(), 1);
    }

    #[test]
    fn one_that_was_never_ended_is_ended_with_the_next() {
        let told = &mut nothing_told();
        post(told, &Alert { severity: Severity::High, ..alert(1, AlertChange::Opened) }, 0);
        let next = Alert { severity: Severity::Low, ..alert(2, AlertChange::Opened) };
        assert_eq!(post(told, &next, 0), expect(&[("low", "13:20", "17:22"), ("high", "13:20", "13:22")]));
    }

    #[test]
    fn a_clock_that_was_set_back_ends_nothing_before_it_began() {
        let mut over = alert(1, AlertChange::Resolved);
        over.time -= Duration::from_secs(3600);
        assert_eq!(post(&mut nothing_told(), &over, 0), expect(&[("medium", "13:20", "13:20")]));
    }
}
