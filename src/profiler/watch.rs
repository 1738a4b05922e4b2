//! The watcher: polls, decides, takes snapshots.

use std::mem::discriminant;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::alerting::Alerting;
use super::gauges::Gauges;
use super::host_gauges::HostGauges;
use super::shared::Shared;
use super::slow::Operation;
use super::threads;
use crate::error::{Error, Result};
use crate::policy::{Decision, RateLimit, Reason, Trigger};
use crate::profile::{Mapping, Reading};
use crate::snapshot::Snapshot;
use crate::system::{loaded_mappings, modules_generation};

/// How many requests may wait.
pub(super) const QUEUE: usize = 16;

/// Least time between two snapshots on request.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// What the watcher can be told.
pub(crate) enum Command {
    Snapshot(Box<dyn FnOnce(Result<Arc<Snapshot>>) + Send>),
    Stop,
}

/// The state of the watcher's thread.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    gauges: Gauges,
    host_gauges: HostGauges,
    trigger: Trigger,
    requests: RateLimit,
    /// `None` where there are no alerts.
    alerting: Option<Alerting>,
    next_id: u64,
    /// The files loaded at a generation; `None` before they were first listed.
    mappings: Option<(u64, Arc<[Mapping]>)>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, gauges: Gauges) -> Self {
        let config = &shared.config;
        let host_gauges = HostGauges::new(config.gauges.clone());
        let trigger = Trigger::new(
            config.rss_threshold,
            &config.rules,
            config.gauges.iter().map(|gauge| (gauge.name, gauge.above)),
            config.min_interval,
            config.poll_interval,
        );
        let requests = RateLimit::new(REQUEST_INTERVAL);
        let alerting = Alerting::new(config);
        Self { shared, gauges, host_gauges, trigger, requests, alerting, next_id: 1, mappings: None }
    }

    /// Polls and obeys until it is told to stop. Whatever fails, the next poll comes.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let interval = self.shared.config.poll_interval;
        let mut next_poll = Instant::now();
        let shared = Arc::clone(&self.shared);
        let panicked = || shared.status().panics += 1;
        // The flag and not the command alone: the command is lost when the queue is full.
        while !shared.is_stopped() {
            let now = Instant::now();
            // Checked before each command, so that no flood of requests can keep a poll waiting.
            if now >= next_poll {
                let poll = || {
                    let _timed = shared.monitoring.slow.time(Operation::Poll);
                    self.poll();
                };
                threads::outlive("a poll", poll, panicked);
                // On its own, so that nobody waits for the log that a poll writes to, nor misses an alert if that panics.
                let alert = || self.alerting.as_mut().map(|alerting| alerting.observe(&self.shared));
                threads::outlive("the rule of alerts", alert, panicked);
                next_poll = now + interval;
            }
            match commands.recv_timeout(next_poll.saturating_duration_since(Instant::now())) {
                Ok(Command::Snapshot(reply)) => {
                    threads::outlive("a snapshot on request", || reply(self.requested()), panicked);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn read(&mut self) -> Result<Reading> {
        let shared = &self.shared;
        self.gauges.read(|error| shared.status().failed(&error))
    }

    fn poll(&mut self) {
        self.shared.collector.check();
        let reading = self.read();
        // The host's code, and so under no lock.
        let gauged = self.host_gauges.read(|| self.shared.status().panics += 1);
        if let Ok(reading) = &reading {
            self.shared.monitoring.observe(reading);
            self.shared.episodes().observe(reading);
        }
        let uptime = self.shared.uptime();
        let (before, after, decision) = {
            let mut status = self.shared.status();
            let before = status.hindrance();
            let decision = status.observe(uptime, reading, gauged, &mut self.trigger);
            (before, status.hindrance(), decision)
        };
        // What somebody must put right is said once, and again when it comes back.
        if let Some(hold) = after
            && before.is_none_or(|before| discriminant(&before) != discriminant(&hold))
        {
            tracing::warn!("heapward: snapshot not taken: {hold}");
        }
        let Decision::Take(reason) = decision else { return };
        let reading = self.shared.status().reading;
        match reading.map(|reading| self.take(reason, reading)) {
            Some(Ok(snapshot)) => log(&snapshot),
            Some(Err(error)) => tracing::warn!("heapward: snapshot failed and will be tried again: {error}"),
            None => {}
        }
    }

    fn requested(&mut self) -> Result<Arc<Snapshot>> {
        let now = self.shared.uptime();
        if let Some(wait) = self.requests.wait(now) {
            return Err(Error::rate_limited(
                format!(
                    "not taken: a snapshot on request was taken less than {} s ago; {:.1} s left",
                    REQUEST_INTERVAL.as_secs(),
                    wait.as_secs_f64()
                ),
                wait,
            ));
        }
        let reading = self.read()?;
        self.shared.status().reading = Some(reading);
        let snapshot = self.take(Reason::Requested, reading)?;
        self.requests.done(now);
        log(&snapshot);
        Ok(snapshot)
    }

    fn take(&mut self, reason: Reason, reading: Reading) -> Result<Arc<Snapshot>> {
        let shared = Arc::clone(&self.shared);
        let _timed = shared.monitoring.slow.time(Operation::Snapshot);
        let begun = Instant::now();
        let told_apart = self.shared.history().epochs();
        let taken = self.shared.collector.snapshot(&told_apart);
        let capture = taken.inspect_err(|_| self.shared.status().snapshot_failures += 1)?;
        self.trigger.taken(self.next_id, &reason, &reading);
        let episode = self.shared.episodes().snapshot(self.next_id, &reason, &reading);
        let snapshot = Arc::new(Snapshot {
            id: self.next_id,
            time: SystemTime::now(),
            reason,
            reading,
            epoch: capture.epoch,
            told_apart,
            live: capture.whole.live(),
            whole: capture.whole,
            cohorts: capture.cohorts,
            totals: capture.totals,
            tables_bytes: self.shared.collector.tables_bytes(),
            gaps: capture.gaps,
            dropped_stacks: capture.dropped_stacks,
            mappings: self.mappings(),
            duration: begun.elapsed(),
            partial: capture.partial,
            episode,
        });
        self.next_id += 1;
        self.shared.keep(Arc::clone(&snapshot));
        self.shared.status().taken(reason, snapshot.time, snapshot.duration);
        Ok(snapshot)
    }

    /// The loaded files; the same list for as long as none was loaded or unloaded.
    fn mappings(&mut self) -> Arc<[Mapping]> {
        let generation = modules_generation();
        match &self.mappings {
            Some((known, mappings)) if *known == generation => Arc::clone(mappings),
            _ => {
                let mappings: Arc<[Mapping]> = loaded_mappings().into();
                self.mappings = Some((generation, Arc::clone(&mappings)));
                mappings
            }
        }
    }
}

/// Last of all that is done about a snapshot: it runs the host's subscriber, which may block or panic.
fn log(snapshot: &Snapshot) {
    tracing::info!(
        id = snapshot.id,
        rss = snapshot.reading.process.rss,
        live_objects = snapshot.live.objects,
        duration_micros = snapshot.duration.as_micros() as u64,
        "heapward: snapshot {} taken: {}",
        snapshot.id,
        snapshot.reason
    );
}
