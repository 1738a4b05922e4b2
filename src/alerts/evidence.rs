//! Passes alerts on at once, and what is found out about their snapshots when it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::desk::Desk;
use super::outbox::weightier;
use super::{Alert, Findings};
use crate::policy::AlertChange;

/// Asks what can be found out about a snapshot; who answers may take long, or drop the question.
pub(crate) type Ask<'a> = dyn Fn(u64, oneshot::Sender<Findings>) + 'a;

/// What is known of the heap behind alerts.
///
/// That an alert began, got worse or is over waits for nothing: whoever is told late may be told never. A newer snapshot is
/// nobody's reason to hurry, so that one waits for its evidence, and both are one message.
struct Evidence<'a> {
    desk: &'a Desk,
    ask: &'a Ask<'a>,
    patience: Duration,
    known: Option<(u64, Findings)>,
    /// Whether nobody has heard of that yet.
    is_untold: bool,
    /// One question at a time.
    asked: Option<(u64, oneshot::Receiver<Findings>)>,
    /// Whether there was more to ask meanwhile.
    is_outdated: bool,
    /// Whether the last question was dropped, so that a heartbeat asks it again.
    is_dropped: bool,
    /// An update that waits for what was asked, and until when.
    held: Option<(Alert, Instant)>,
}

/// Passes on what is handed in at `desk` until that is closed. An update waits for its evidence for `patience`.
pub(super) async fn pass_on(desk: &Desk, ask: &Ask<'_>, patience: Duration) {
    let mut evidence = Evidence {
        desk,
        ask,
        patience,
        known: None,
        is_untold: false,
        asked: None,
        is_outdated: false,
        is_dropped: false,
        held: None,
    };
    loop {
        let Evidence { asked, held, .. } = &mut evidence;
        tokio::select! {
            incoming = desk.incoming.first() => match incoming {
                Some(alert) => {
                    evidence.take(&alert);
                    desk.incoming.done(&alert, true);
                }
                None => break,
            },
            found = answer(asked) => evidence.learn(found),
            () = waited(held.as_ref().map(|(_, until)| *until), desk) => evidence.let_go(),
        }
    }
    evidence.let_go();
    desk.sinks.iter().flatten().for_each(|sink| sink.outbox.close());
}

impl Evidence<'_> {
    fn take(&mut self, alert: &Alert) {
        if alert.change == AlertChange::Opened {
            // What was behind an earlier one says nothing of this.
            self.known.take_if(|(known, _)| Some(*known) != alert.snapshot);
        }
        // Of a heartbeat nobody wants to know more, unless what was asked before was not answered; what is over needs no evidence
        // any more.
        let is_worth_it = match alert.change {
            AlertChange::Opened | AlertChange::Raised | AlertChange::Updated => true,
            AlertChange::Unchanged => self.is_dropped,
            _ => false,
        };
        if let Some(snapshot) = alert.snapshot.filter(|_| is_worth_it && !self.desk.is_stopped()) {
            self.want(snapshot);
        }
        let (mut alert, mut until) = (alert.clone(), Instant::now() + self.patience);
        match self.held.take() {
            Some((held, since)) if held.number == alert.number => {
                alert.change = weightier(held.change, alert.change);
                until = since;
            }
            Some((held, _)) => self.tell(held),
            None => {}
        }
        if alert.change == AlertChange::Updated && self.asked.is_some() {
            self.held = Some((alert, until));
        } else {
            self.tell(alert);
        }
    }

    fn want(&mut self, snapshot: u64) {
        match &self.asked {
            Some((asked, _)) => self.is_outdated = *asked != snapshot,
            None if self.known.as_ref().is_some_and(|(known, _)| *known == snapshot) => {}
            None => {
                let (reply, reply_to) = oneshot::channel();
                self.is_dropped = false;
                (self.ask)(snapshot, reply);
                self.asked = Some((snapshot, reply_to));
            }
        }
    }

    /// Takes an answer in; `None` where there was too much to do for one.
    fn learn(&mut self, found: Option<(u64, Findings)>) {
        self.is_dropped = found.is_none();
        self.is_untold |= found.is_some();
        self.known = found.or(self.known.take());
        let active = self.desk.active();
        // That of now: the one that was asked for is some alert's past.
        let newer = active.as_ref().and_then(|active| active.snapshot).filter(|_| self.is_outdated);
        self.is_outdated = false;
        if let Some(newer) = newer.filter(|_| !self.desk.is_stopped()) {
            self.want(newer);
            if self.asked.is_some() {
                return;
            }
        }
        if self.held.is_some() {
            return self.let_go();
        }
        let (Some((_, findings)), Some(active)) = (self.known.as_ref().filter(|_| self.is_untold), active) else {
            return;
        };
        let alert = Alert::clone(&active);
        if !findings.sites.is_empty() || findings.leaks.is_some() {
            self.tell(Alert { change: AlertChange::Updated, ..alert });
        } else {
            // Why there is nothing is nobody's reason for a message.
            self.is_untold = false;
            self.desk.retell(&Arc::new(self.known_of(alert)));
        }
    }

    fn let_go(&mut self) {
        if let Some((alert, _)) = self.held.take() {
            self.tell(alert);
        }
    }

    fn tell(&mut self, alert: Alert) {
        self.is_untold = false;
        self.desk.pass_on(&Arc::new(self.known_of(alert)));
    }

    fn known_of(&self, mut alert: Alert) -> Alert {
        if let Some((snapshot, findings)) = &self.known {
            alert.learn(*snapshot, findings);
        }
        alert
    }
}

/// The answer to what was asked, of which there is then no more; waits for ever where nothing was.
async fn answer(asked: &mut Option<(u64, oneshot::Receiver<Findings>)>) -> Option<(u64, Findings)> {
    let Some((snapshot, reply)) = asked else { return std::future::pending().await };
    let (snapshot, found) = (*snapshot, reply.await);
    *asked = None;
    // Dropped when there was too much to do.
    Some((snapshot, found.ok()?))
}

/// Waits until then, or until there is no more time; for ever where nothing is waited for.
async fn waited(until: Option<Instant>, desk: &Desk) {
    let Some(until) = until else { return std::future::pending().await };
    tokio::select! { () = desk.stopped() => {}, () = sleep_until(until) => {} }
}
