//! The thread that sends alerts.

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout};

use super::alertmanager::{self, Told};
use super::client::{Client, Limits};
use super::desk::{ALERTMANAGER, Desk, LOG, Sink, WEBHOOK};
use super::evidence::{Ask, pass_on};
use super::schedule::Schedule;
use super::{Alert, SINKS, log};
use crate::system::unsample_this_thread;

/// How long what is found out is waited for before a newer snapshot is told without.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long what waits may take to be sent when heapward ends.
const FLUSH: Duration = Duration::from_secs(2);

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) limits: Limits,
    pub(super) schedule: Schedule,
    pub(super) patience: Duration,
    pub(super) flush: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { limits: Limits::default(), schedule: Schedule::default(), patience: PATIENCE, flush: FLUSH }
    }
}

/// Sends what is handed in at `desk` until that is stopped.
///
/// # Errors
///
/// When the runtime cannot be started.
pub(crate) fn run(desk: &Desk, ask: &Ask<'_>) -> io::Result<()> {
    run_at(desk, ask, &Pace::default())
}

pub(super) fn run_at(desk: &Desk, ask: &Ask<'_>, pace: &Pace) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Where names are looked up, which can hang: one for each receiver.
        .thread_name("heapward-lookup")
        .max_blocking_threads(2)
        .on_thread_start(unsample_this_thread)
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            () = deliver(desk, ask, pace) => {}
            () = async { desk.stopped().await; sleep(pace.flush).await } => {}
        }
    });
    desk.drop_waiting();
    // A search for an address that hangs is not waited for.
    runtime.shutdown_background();
    Ok(())
}

async fn deliver(desk: &Desk, ask: &Ask<'_>, pace: &Pace) {
    let [log, webhook, alertmanager] = &desk.sinks;
    tokio::join!(
        pass_on(desk, ask, pace.patience),
        async {
            let Some(log) = log else { return };
            write_log(desk, log).await;
        },
        async {
            let Some(Sink { outbox: _, target: Some(target), .. }) = webhook else { return };
            let client = Client::new(target.clone(), pace.limits);
            // An alert as JSON is strings and numbers: nothing that can fail.
            let body = |alert: &Alert| serde_json::to_vec(alert).unwrap_or_default();
            post(desk, WEBHOOK, client, &pace.schedule, body, |_| {}).await;
        },
        async {
            let Some(Sink { outbox: _, target: Some(target), .. }) = alertmanager else { return };
            let client = Client::new(target.below(alertmanager::PATH), pace.limits);
            let told = std::cell::RefCell::new(Told::new(alertmanager::validity(desk.poll_interval())));
            let body = |alert: &Alert| told.borrow_mut().post(alert, SystemTime::now());
            post(desk, ALERTMANAGER, client, &pace.schedule, body, |alert| told.borrow_mut().taken(alert)).await;
        },
    );
}

/// Writes to the log, which runs the host's subscriber: one that panics must not end what is sent to others. False when it did.
fn say(write: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(write)).is_ok()
}

async fn write_log(desk: &Desk, sink: &Sink) {
    // The alert whose evidence was told: where it came later, it is as loud as the beginning.
    let mut explained = None;
    while let Some(alert) = sink.outbox.first().await {
        let is_news = alert.has_evidence() && explained != Some(alert.number);
        if is_news {
            explained = Some(alert.number);
        }
        if say(|| log::write(&alert, is_news)) {
            desk.sent(LOG);
        } else {
            desk.failed_attempt(LOG, "the log's subscriber panicked".to_owned());
            desk.gave_up(LOG);
        }
        // Not again: it would panic again.
        sink.outbox.done(&alert, true);
    }
}

/// Posts what waits, again and again until it has arrived or is given up.
async fn post(
    desk: &Desk,
    index: usize,
    mut client: Client,
    schedule: &Schedule,
    body: impl Fn(&Alert) -> Vec<u8>,
    arrived: impl Fn(&Alert),
) {
    let Some(Some(sink)) = desk.sinks.get(index) else { return };
    let name = SINKS.get(index).copied().unwrap_or_default();
    while let Some(first) = sink.outbox.first().await {
        let begun = Instant::now();
        let mut failures = 0;
        let mut alert = first;
        loop {
            // At the end each alert has one attempt that begins after heapward was told to end.
            let is_last = desk.is_stopped();
            let Err(failure) = client.post(body(&alert).into()).await else {
                arrived(&alert);
                desk.sent(index);
                sink.outbox.done(&alert, true);
                break;
            };
            failures += 1;
            if desk.failed_attempt(index, failure.to_string()) {
                say(|| tracing::warn!("heapward: an alert could not be sent to the {name}: {failure}"));
            }
            let pause = schedule.pause(failures, begun.elapsed()).filter(|_| !failure.is_final && !is_last);
            let Some(pause) = pause else {
                desk.gave_up(index);
                sink.outbox.done(&alert, false);
                break;
            };
            _ = timeout(pause, desk.stopped()).await;
            // What is newest by now; another alert where this one had to go.
            match sink.outbox.first().await {
                Some(newest) => alert = newest,
                None => return,
            }
        }
    }
}
