//! What came of alerts: those there were, and whether they arrived.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::Alert;
use crate::policy::{AlertChange, Severity, Standing};

/// Alerts that are remembered after they are over.
const REMEMBERED: usize = 20;

/// Everywhere that alerts can go.
pub(crate) const SINKS: [&str; 3] = ["log", "webhook", "alertmanager"];

/// The alert there is, those there were, and whether they arrived. `GET /api/alerts` serves it as JSON with the same names.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AlertReport {
    /// What the rule makes of the last reading, and why.
    pub standing: String,
    /// The alert that is not over.
    pub active: Option<Alert>,
    /// The last ones that are over, newest first, twenty at most.
    pub last: Vec<Alert>,
    /// Where alerts are sent, and what came of it.
    pub deliveries: Vec<AlertDeliveries>,
}

/// What came of sending alerts to one receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlertDeliveries {
    /// `log`, `webhook` or `alertmanager`.
    pub sink: &'static str,
    /// Scheme, host and port, without anything that is nobody else's to know; `None` for the log.
    pub to: Option<String>,
    /// Messages that arrived.
    pub sent: u64,
    /// Messages that were given up, after so many attempts that failed.
    pub failed: u64,
    /// Messages that found no room in the queue, or no time at the end.
    pub dropped: u64,
    /// Messages that were never sent because a newer state of the same alert came first. Nothing is lost by that.
    pub replaced: u64,
    /// Attempts that failed, of messages that arrived later too.
    pub failed_attempts: u64,
    /// Messages that wait.
    pub waiting: usize,
    /// What went wrong last, in words.
    pub last_error: Option<String>,
}

/// For metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Alerts that were opened with a severity or raised to it, by [`Severity::ALL`].
    pub(crate) severities: [u64; Severity::ALL.len()],
    /// The severity of the alert that is not over.
    pub(crate) active: Option<Severity>,
    /// Sent, failed and dropped, by [`SINKS`].
    pub(crate) deliveries: [[u64; 3]; SINKS.len()],
}

/// Keeps count.
#[derive(Debug)]
pub(super) struct Ledger {
    standing: Standing,
    active: Option<Arc<Alert>>,
    last: VecDeque<Arc<Alert>>,
    severities: [u64; Severity::ALL.len()],
    /// By [`SINKS`].
    pub(super) deliveries: [AlertDeliveries; SINKS.len()],
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            standing: Standing::NotYet,
            active: None,
            last: VecDeque::new(),
            severities: [0; Severity::ALL.len()],
            deliveries: SINKS.map(|sink| AlertDeliveries { sink, ..AlertDeliveries::default() }),
        }
    }

    pub(super) fn stand(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// Notes what the watcher tells.
    pub(super) fn note(&mut self, alert: &Arc<Alert>) {
        if matches!(alert.change, AlertChange::Opened | AlertChange::Raised) {
            self.severities[alert.severity.index()] += 1;
        }
        if alert.is_over() {
            self.active = None;
            self.last.push_front(Arc::clone(alert));
            self.last.truncate(REMEMBERED);
        } else {
            self.active = Some(Arc::clone(alert));
        }
    }

    /// The same alert, of which more is known.
    pub(super) fn retell(&mut self, alert: &Arc<Alert>) {
        let all = self.active.iter_mut().chain(&mut self.last);
        for known in all.filter(|known| known.number == alert.number && known.time == alert.time) {
            *known = Arc::clone(alert);
        }
    }

    pub(super) fn active(&self) -> Option<&Arc<Alert>> {
        self.active.as_ref()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            severities: self.severities,
            active: self.active.as_ref().map(|alert| alert.severity),
            deliveries: self.deliveries.each_ref().map(|sink| [sink.sent, sink.failed, sink.dropped]),
        }
    }

    /// `deliveries` are those of the receivers there are.
    pub(super) fn report(&self, deliveries: Vec<AlertDeliveries>) -> AlertReport {
        AlertReport {
            standing: self.standing.to_string(),
            active: self.active.as_deref().cloned(),
            last: self.last.iter().map(|alert| Alert::clone(alert)).collect(),
            deliveries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::testing::alert;

    #[test]
    fn twenty_are_remembered_and_all_are_counted() {
        let mut ledger = Ledger::new();
        let mut note = |number, change, severity| ledger.note(&Arc::new(Alert { severity, ..alert(number, change) }));
        for number in 1..=30 {
            note(number, AlertChange::Opened, Severity::Low);
            note(number, AlertChange::Updated, Severity::Low);
            note(number, AlertChange::Raised, Severity::High);
            note(number, AlertChange::Unchanged, Severity::High);
            note(number, AlertChange::Resolved, Severity::High);
        }
        note(31, AlertChange::Opened, Severity::Medium);
        let counts = ledger.counts();
        assert_eq!((counts.severities, counts.active), ([30, 1, 30], Some(Severity::Medium)));
        let report = ledger.report(Vec::new());
        let last: Vec<u64> = report.last.iter().map(|alert| alert.number).collect();
        assert_eq!(last, (11..=30).rev().collect::<Vec<_>>());
        assert_eq!(report.active.map(|alert| alert.number), Some(31));
        ledger.note(&Arc::new(alert(31, AlertChange::Resolved)));
        assert!(ledger.active().is_none() && ledger.counts().active.is_none());
    }

    #[test]
    fn what_is_found_out_later_is_of_the_state_that_it_was_asked_for() {
        let mut ledger = Ledger::new();
        let first = Arc::new(alert(1, AlertChange::Opened));
        ledger.note(&first);
        let mut more = Alert::clone(&first);
        more.sites_remark = Some("known".to_owned());
        ledger.retell(&Arc::new(more.clone()));
        assert_eq!(ledger.active().unwrap().sites_remark.as_deref(), Some("known"));
        let mut later = alert(1, AlertChange::Resolved);
        later.time += std::time::Duration::from_secs(1);
        ledger.note(&Arc::new(later));
        ledger.retell(&Arc::new(more));
        assert_eq!(ledger.last[0].sites_remark, None, "an older state does not come back");
    }
}
