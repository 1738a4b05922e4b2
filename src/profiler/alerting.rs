//! The watcher's half of alerts: the rule over its readings, and the way to what is behind them.

use std::sync::Arc;
use std::time::Duration;

use super::{Config, Operation, Shared, threads};
use crate::alerts::{self, Findings};
use crate::policy::{AlertRule, RateLimit, Symbolize, Threshold, alert_is_short_of_names};
use crate::profile::MachineMemory;
use crate::snapshot::Selector;

/// Names are looked up so often at most before anybody asks.
const PREPARED: Duration = Duration::from_secs(60);

/// The rule over the watcher's readings.
pub(super) struct Alerting {
    rule: AlertRule,
    /// Uptime of the last reading that was judged.
    last: Option<Duration>,
    threshold: Threshold,
    /// Of looking names up beforehand.
    preparing: RateLimit,
    /// The snapshot for which that was done last.
    prepared: Option<u64>,
}

impl Alerting {
    /// `None` when there are to be no alerts.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let threshold = config.alerts.threshold?;
        let rule = AlertRule::new(threshold, config.alerts.after);
        Some(Self { rule, last: None, threshold, preparing: RateLimit::new(PREPARED), prepared: None })
    }

    /// Judges the last reading, or what there is to say without a new one. Waits for nothing.
    pub(super) fn observe(&mut self, shared: &Arc<Shared>) {
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
        self.prepare(shared, newest);
    }

    /// Has the names remembered of the stacks that matter, where there will be no room for names when there is an alert. That
    /// costs the renderer some time with a snapshot, once a minute at most, and little where they are remembered.
    fn prepare(&mut self, shared: &Arc<Shared>, newest: Option<u64>) {
        let Some(snapshot) = newest.filter(|_| newest != self.prepared) else { return };
        let (config, now) = (shared.config(), shared.uptime());
        let is_short = || alert_is_short_of_names(&shared.last_cgroup(), self.threshold, config.symbolize_headroom);
        if self.preparing.wait(now).is_some() || config.symbolize != Symbolize::Auto || !is_short() {
            return;
        }
        // Refused when there is too much to do: then the next poll tries.
        if shared.render(Operation::Alert, move |shared, namer| shared.prepare_names(snapshot, namer)).is_ok() {
            self.preparing.done(now);
            self.prepared = newest;
        }
    }
}

/// Sends alerts until heapward ends, on a thread for that.
pub(super) fn send(shared: &Arc<Shared>) {
    let Some(desk) = shared.alerts() else { return };
    let ask = |snapshot: u64, reply: tokio::sync::oneshot::Sender<Findings>| {
        // Refused when there is too much to do: then the sender is dropped, and that is told to whoever waits.
        _ = shared.render(Operation::Alert, move |shared, namer| {
            // Gone when heapward ends.
            _ = reply.send(shared.findings(snapshot, namer));
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
