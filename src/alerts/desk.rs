//! Where the watcher hands alerts in, and everybody else asks for them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::ledger::Ledger;
use super::outbox::{Outbox, Pushed};
use super::{Alert, AlertDeliveries, AlertReport, AlertSettings, Counts, Labels, SINKS, Target};
use crate::policy::{Alarm, AlertChange, Standing};
use crate::system::machine_name;

/// Where alerts are handed in; no call of it waits.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Of this run alone.
    run: u64,
    labels: Labels,
    /// Where heapward listens, with a slash at the end.
    server: Option<String>,
    /// How often alerts can be told at most.
    poll_interval: Duration,
    ledger: Mutex<Ledger>,
    /// Handed in, and not yet passed on.
    pub(super) incoming: Outbox,
    /// By [`SINKS`]; `None` where nothing is sent to.
    pub(super) sinks: [Option<Sink>; SINKS.len()],
    stop: watch::Sender<bool>,
}

/// One receiver.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) outbox: Outbox,
    pub(super) target: Option<Target>,
    /// Whether it gets what is told only because nobody may forget it.
    wants_heartbeats: bool,
    /// Whether it has not got what it was sent last, so that it is owed whatever comes next.
    owed: AtomicBool,
}

/// The receivers' places in [`SINKS`].
pub(super) const LOG: usize = 0;
pub(super) const WEBHOOK: usize = 1;
pub(super) const ALERTMANAGER: usize = 2;

impl Desk {
    /// `address` is what heapward listens on, `poll_interval` the time between two readings.
    pub(crate) fn new(settings: &AlertSettings, address: Option<SocketAddr>, poll_interval: Duration) -> Self {
        let sink = |target: &Option<Target>, wants_heartbeats| {
            let target = target.clone()?;
            Some(Sink {
                outbox: Outbox::default(),
                target: Some(target),
                wants_heartbeats,
                owed: AtomicBool::new(false),
            })
        };
        let log =
            Sink { outbox: Outbox::default(), target: None, wants_heartbeats: false, owed: AtomicBool::new(false) };
        Self {
            run: random(),
            labels: settings.all_labels(address.map(|address| address.port())),
            server: address.map(server_url),
            poll_interval,
            ledger: Mutex::new(Ledger::new()),
            incoming: Outbox::default(),
            sinks: [Some(log), sink(&settings.webhook, false), sink(&settings.alertmanager, true)],
            stop: watch::Sender::new(false),
        }
    }

    /// Takes an alert from the watcher, and where its rule stands.
    pub(crate) fn tell(&self, alarm: Option<&Alarm>, standing: Standing) {
        self.ledger().stand(standing);
        let Some(alarm) = alarm else { return };
        let alert = Arc::new(Alert::new(alarm, self.run, &self.labels, self.server.as_deref()));
        self.ledger().note(&alert);
        if self.incoming.push(alert) == Pushed::DroppedOldest {
            self.ledger().deliveries.iter_mut().for_each(|sink| sink.dropped += 1);
        }
    }

    pub(super) fn poll_interval(&self) -> Duration {
        self.poll_interval
    }

    /// What there is to tell.
    pub(crate) fn report(&self) -> AlertReport {
        let ledger = self.ledger();
        let deliveries = ledger.deliveries.iter().zip(&self.sinks).filter_map(|(deliveries, sink)| {
            let sink = sink.as_ref()?;
            let to = sink.target.as_ref().map(ToString::to_string);
            Some(AlertDeliveries { to, waiting: sink.outbox.len(), ..deliveries.clone() })
        });
        ledger.report(deliveries.collect())
    }

    /// What there is to count.
    pub(crate) fn counts(&self) -> Counts {
        self.ledger().counts()
    }

    /// Has what waits sent, as far as that is quick, and then no more.
    pub(crate) fn stop(&self) {
        self.incoming.close();
        self.stop.send_replace(true);
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until it is to end.
    pub(super) async fn stopped(&self) {
        // Its sender is ours.
        _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Passes an alert on to all who want it.
    pub(super) fn pass_on(&self, alert: &Arc<Alert>) {
        self.ledger().retell(alert);
        for (index, sink) in self.sinks.iter().enumerate() {
            let Some(sink) = sink else { continue };
            let wants =
                alert.change != AlertChange::Unchanged || sink.wants_heartbeats || sink.owed.load(Ordering::Relaxed);
            if !wants {
                continue;
            }
            match sink.outbox.push(Arc::clone(alert)) {
                Pushed::Added => {}
                Pushed::Replaced => self.account(index, |sink| sink.replaced += 1),
                Pushed::DroppedOldest | Pushed::Refused => self.account(index, |sink| sink.dropped += 1),
            }
        }
    }

    /// More is known of an alert, which nobody is told for that alone.
    pub(super) fn retell(&self, alert: &Arc<Alert>) {
        self.ledger().retell(alert);
    }

    /// The alert that is not over.
    pub(super) fn active(&self) -> Option<Arc<Alert>> {
        self.ledger().active().cloned()
    }

    pub(super) fn sent(&self, index: usize) {
        self.owe(index, false);
        self.account(index, |sink| sink.sent += 1);
    }

    /// An attempt failed, for which another may follow. True for the first since one that did not.
    pub(super) fn failed_attempt(&self, index: usize, why: String) -> bool {
        self.account(index, |sink| {
            sink.failed_attempts += 1;
            sink.last_error = Some(why);
        });
        !self.owe(index, true)
    }

    pub(super) fn gave_up(&self, index: usize) {
        self.account(index, |sink| sink.failed += 1);
    }

    /// Whether the receiver was owed something before.
    fn owe(&self, index: usize, is_owed: bool) -> bool {
        self.sinks.get(index).and_then(Option::as_ref).is_some_and(|sink| sink.owed.swap(is_owed, Ordering::Relaxed))
    }

    /// Drops what waits, and counts it.
    pub(crate) fn drop_waiting(&self) {
        let not_passed_on = self.incoming.clear();
        for (index, sink) in self.sinks.iter().enumerate() {
            let Some(sink) = sink else { continue };
            let waiting = sink.outbox.clear() + not_passed_on;
            self.account(index, |sink| sink.dropped += waiting as u64);
        }
    }

    fn account(&self, index: usize, note: impl FnOnce(&mut AlertDeliveries)) {
        if let Some(deliveries) = self.ledger().deliveries.get_mut(index) {
            note(deliveries);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To tell the alerts of runs apart that begin at once; nothing secret.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Where others reach a server on `address`, with a slash at the end.
fn server_url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        // It listens everywhere, and nobody can go there.
        format!("http://{}:{}/", machine_name(), address.port())
    } else {
        format!("http://{address}/")
    }
}
