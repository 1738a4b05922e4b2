//! The watcher's half of alerts: the rule over its readings, and what can be found out for those who send them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Asker, Heap, Namer, Operation, Shared, Wanted, threads};
use crate::alerts::{self, AlertLeaks, AlertSettings, AlertSite, Findings};
use crate::analysis::Top;
use crate::error::Result;
use crate::policy::{AlertRule, check_alert_room};
use crate::profile::{INUSE_SPACE, MachineMemory, Trim};
use crate::snapshot::Selector;

/// Sites that an alert names.
const SITES: usize = 3;
/// How long the search for leaks may take, the wait for the renderer included.
const LEAKS: Duration = Duration::from_secs(5);

/// The rule over the watcher's readings.
pub(super) struct Alerting {
    rule: AlertRule,
    /// Uptime of the last reading that was judged.
    last: Option<Duration>,
}

impl Alerting {
    /// `None` when there are to be no alerts.
    pub(super) fn new(settings: &AlertSettings) -> Option<Self> {
        let rule = AlertRule::new(settings.threshold?, settings.after);
        Some(Self { rule, last: None })
    }

    /// Judges the last reading, or what there is to say without a new one. Waits for nothing.
    pub(super) fn observe(&mut self, shared: &Shared) {
        let Some(desk) = shared.alerts() else { return };
        let reading = shared.status().reading;
        let newest = shared.history().find(Selector::Latest).ok().map(|snapshot| snapshot.id);
        let alarm = match reading.filter(|reading| self.last != Some(reading.uptime)) {
            Some(reading) => {
                self.last = Some(reading.uptime);
                let machine = reading.system.as_ref().map(MachineMemory::of).unwrap_or_default();
                self.rule.observe(&reading, &machine, newest)
            }
            // It failed.
            None => self.rule.go_without(shared.uptime(), newest),
        };
        desk.tell(alarm.as_ref(), self.rule.standing());
    }
}

/// Sends alerts until heapward ends, on a thread for that.
pub(super) fn send(shared: &Arc<Shared>) {
    let Some(desk) = shared.alerts() else { return };
    let ask = |snapshot: u64, reply: tokio::sync::oneshot::Sender<Findings>| {
        let until = Instant::now() + LEAKS;
        // Refused when there is too much to do: then the sender is dropped, and that is told to whoever waits.
        _ = shared.render(Operation::Alert, move |shared, namer| {
            let asker = Asker::new();
            let found = shared.findings(snapshot, namer, &asker.wanted().until(until));
            // Gone when heapward ends.
            _ = reply.send(found);
        });
    };
    loop {
        match threads::outlive("sending alerts", || alerts::run(desk, &ask), || shared.status().panics += 1) {
            Some(Ok(())) => return,
            Some(Err(error)) => {
                tracing::warn!("heapward: alerts are not sent, as their runtime could not be started: {error}");
                return;
            }
            // What may have been the reason is not tried again.
            None => desk.drop_waiting(),
        }
    }
}

impl Shared {
    /// What can be found out about a snapshot, for the renderer's thread.
    fn findings(&self, snapshot: u64, namer: &mut Namer<'_>, wanted: &Wanted) -> Findings {
        let sites = check_alert_room(&self.last_cgroup()).and_then(|()| self.largest_sites(snapshot, namer));
        let (sites, refused) = match sites {
            Ok(sites) => (sites, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        // It needs names for many more stacks.
        let has_room = refused.is_none() && namer.declined().is_none();
        let leaks = if has_room { self.leaks(namer, wanted).ok() } else { None };
        let leaks = leaks.map(|report| {
            let suspects = report.suspects.into_iter().map(|suspect| (suspect.site, suspect.evidence.verdict));
            AlertLeaks::new(report.summary, suspects)
        });
        Findings { sites, remark: refused.or_else(|| namer.declined().map(str::to_owned)), leaks }
    }

    fn largest_sites(&self, snapshot: u64, namer: &mut Namer<'_>) -> Result<Vec<AlertSite>> {
        let (profile, live) = self.measured_profile(Heap::Kept(Selector::Id(snapshot)), namer)?;
        let top = Top::of(&profile, Some(&live), INUSE_SPACE, SITES, Trim::Std);
        let site = |row: crate::analysis::TopRow| {
            let bytes = row.values.get(INUSE_SPACE).copied().unwrap_or(0);
            AlertSite::new(row.site, bytes, row.inuse.map(|inuse| (inuse.bytes.low, inuse.bytes.high)))
        };
        Ok(top.rows.into_iter().map(site).collect())
    }
}
