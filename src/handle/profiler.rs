//! The handle that a service holds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::folder;
use super::slot::Slot;
use super::{Builder, ComparedUnwinders, Diff, Episode, HeapProfile, LiveSample, SnapshotInfo, TopSite};
use crate::alerts::{AlertReport, Desk};
use crate::analysis::{Grouping, Question, Sort, Top};
use crate::collect::{Collector, LiveObject, Rejected, Source, UnwindReport};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Bound, Routes};
use crate::policy;
use crate::profile::{ByteSize, INUSE_SPACE, Trim};
use crate::profiler::{
    Asker, Config, Gauges, Heap, LeakReport, Namer, Operation, Shared, Shown, View, Wanted, Workers, stopped,
    warn_of_unknown_variables,
};
use crate::snapshot::Selector;
use crate::system::close_in_child;

/// How long a call waits for heapward's own threads.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the profiler with defaults and `HEAPWARD_*` variables.
///
/// # Errors
///
/// As [`Builder::start`].
pub fn start() -> Result<Profiler> {
    Profiler::builder().start()
}

/// A running profiler. Dropping it tells heapward's threads to end; [`Profiler::shutdown`] also waits for them.
#[must_use = "dropping the profiler stops it: hold it for as long as the service runs"]
pub struct Profiler {
    running: Option<Running>,
}

struct Running {
    workers: Workers,
    server: Option<Bound>,
    /// Given back after everything here was told to end, and when the last thread has ended.
    _slot: Arc<Slot>,
}

impl Profiler {
    /// Everything that can be set, at its default.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn disabled() -> Self {
        tracing::info!("heapward is off (HEAPWARD_ENABLED=false)");
        Self { running: None }
    }

    pub(super) fn launch(config: Config) -> Result<Self> {
        warn_of_unknown_variables();
        Collector::refuse_in_child()?;
        let slot = Arc::new(Slot::take()?);
        // What can be refused comes first, so that nothing is left running when it is.
        let mut server = Bound::bind(&config.listen)?;
        folder::prepare(&config.profiles_dir)?;
        let threshold = config.rss_threshold;
        let gauges = Gauges::open(Instant::now())?;
        let source = if config.use_hooks { Collector::best_source() } else { Source::Dump };
        let collector = Collector::start(config.limits, source, config.unwinder, config.jemalloc_stacks)?;
        let address = server.as_ref().and_then(Bound::address);
        let alerts = config.alerts.threshold.map(|_| Desk::new(&config.alerts, address, config.poll_interval));
        let mut workers = Workers::start(config, collector, gauges, alerts, &slot)?;
        if let Some(server) = &mut server {
            close_in_child(server.descriptor());
            let routes = Routes::new(Some(Arc::clone(workers.shared())));
            if let Some((serve, started)) = server.serve(routes) {
                workers.spawn("heapward-http", &slot, serve)?;
                wait(&started)?.map_err(|error| Error::io("starting the server's runtime", error))?;
            }
        }
        log_unwinder(&collector.unwinder());
        tracing::info!(
            "heapward: one sample in {} on average, by {}, stacks by {}; snapshots above {threshold} RSS; {}",
            ByteSize::bytes(collector.interval().bytes()),
            match collector.source() {
                Source::Hooks => "jemalloc's hooks",
                Source::Dump => "jemalloc's dumps",
            },
            collector.unwinder().in_use,
            match &server {
                Some(server) => format!("serving on {}", server.describe()),
                None => "not serving".to_owned(),
            }
        );
        Ok(Self { running: Some(Running { workers, server, _slot: slot }) })
    }

    /// What the threads share; an error when there are none, as in a forked child.
    fn shared(&self) -> Result<&Arc<Shared>> {
        let shared = self.running.as_ref().ok_or_else(stopped)?.workers.shared();
        if shared.collector().is_quiet() { Err(Collector::forked()) } else { Ok(shared) }
    }

    /// Whether anything runs: false with `HEAPWARD_ENABLED=false`.
    pub fn is_enabled(&self) -> bool {
        self.running.is_some()
    }

    /// The TCP address that the server listens on; `None` on a socket file, or when it does not listen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.as_ref()?.server.as_ref()?.address()
    }

    /// Takes a snapshot now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RateLimited`] within a second of the last one on request.
    pub fn snapshot(&self) -> Result<SnapshotInfo> {
        let (reply, answer) = sync_channel(1);
        self.shared()?.request_snapshot(move |snapshot| {
            // Full or gone only when the caller is: then nobody wants to know.
            let _ = reply.try_send(snapshot);
        })?;
        wait(&answer)?.map(|snapshot| SnapshotInfo::of(&snapshot))
    }

    /// The snapshots that are kept, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        match self.shared() {
            Ok(shared) => shared.history().all().iter().map(|snapshot| SnapshotInfo::of(snapshot)).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// The last 20 episodes, oldest first: rises of RSS, each with its snapshots.
    pub fn episodes(&self) -> Vec<Episode> {
        let Ok(shared) = self.shared() else { return Vec::new() };
        let episodes: Vec<policy::Episode> = shared.episodes().all().cloned().collect();
        let history = shared.history();
        episodes.iter().map(|episode| Episode::of(episode, |id| history.keeps(id))).collect()
    }

    /// A snapshot as gzipped profile.proto, for `go tool pprof`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn heap_prof(&self, snapshot: Selector) -> Result<Vec<u8>> {
        self.pprof(move |shared| shared.view(Heap::Kept(snapshot)))
    }

    /// The heap as it is now, as gzipped profile.proto. Takes no snapshot and ends no epoch.
    ///
    /// # Errors
    ///
    /// When the profiler does not run.
    pub fn live_heap_prof(&self) -> Result<Vec<u8>> {
        self.pprof(|shared| shared.view(Heap::Live))
    }

    /// A snapshot with its names, in memory: to draw it, or to compare it with another.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn heap_profile(&self, snapshot: Selector) -> Result<HeapProfile> {
        self.render(Operation::Other, move |shared, namer, _| {
            Ok(HeapProfile::of(shared.profile(Heap::Kept(snapshot), namer)?))
        })
    }

    /// The `count` sites that hold the most bytes in a snapshot, largest first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn top(&self, snapshot: Selector, count: usize) -> Result<Vec<TopSite>> {
        self.render(Operation::Top, move |shared, namer, _| {
            let (profile, live) = shared.measured_profile(Heap::Kept(snapshot), namer)?;
            let top = Top::of(&profile, Some(&live), INUSE_SPACE, count, Trim::Std);
            Ok(top.rows.into_iter().map(TopSite::of).collect())
        })
    }

    /// What changed from the snapshot `base` to the snapshot `later`, with how sure that is: of the stacks, sites or
    /// functions the `count` that surely changed most.
    ///
    /// ```no_run
    /// use heapward::{Grouping, Selector};
    ///
    /// # fn main() -> Result<(), heapward::Error> {
    /// # let profiler = heapward::start()?;
    /// let diff = profiler.diff(Selector::Baseline, Selector::Latest, Grouping::Site, 10)?;
    /// println!("{} since the first snapshot", diff.total.net.bytes); // +12.4 MiB ± 1.9
    /// for row in diff.rows.iter().filter(|row| row.significant) {
    ///     println!("{} {}", row.amounts.net.bytes, row.place.function);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn diff(&self, base: Selector, later: Selector, by: Grouping, count: usize) -> Result<Diff> {
        self.compare(base, Heap::Kept(later), by, count)
    }

    /// What changed from the snapshot `base` to the heap as it is now, as [`Profiler::diff`]. Takes no snapshot and ends
    /// no epoch.
    ///
    /// # Errors
    ///
    /// As [`Profiler::diff`].
    pub fn diff_live(&self, base: Selector, by: Grouping, count: usize) -> Result<Diff> {
        self.compare(base, Heap::Live, by, count)
    }

    fn compare(&self, base: Selector, later: Heap, by: Grouping, count: usize) -> Result<Diff> {
        let question = Question { by, trim: Trim::Std, sort: Sort::default(), count, only_significant: false };
        self.render(Operation::Diff, move |shared, namer, _| Ok(Diff::of(shared.diff(base, later, &question, namer)?)))
    }

    /// What grows without bound over the kept snapshots, with the evidence, and why the rest is not accused. It takes
    /// four snapshots to accuse anything.
    ///
    /// # Errors
    ///
    /// When the profiler does not run.
    pub fn leaks(&self) -> Result<LeakReport> {
        self.render(Operation::Leaks, |shared, namer, wanted| shared.leaks(namer, wanted))
    }

    /// The alert there is, those there were, and whether they arrived; `None` where there are no alerts.
    ///
    /// # Errors
    ///
    /// When the profiler does not run.
    pub fn alerts(&self) -> Result<Option<AlertReport>> {
        Ok(self.shared()?.alerts().map(Desk::report))
    }

    /// What changed from the snapshot `base` to the snapshot `later`, as gzipped profile.proto with signed values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn diff_heap_prof(&self, base: Selector, later: Selector) -> Result<Vec<u8>> {
        self.pprof(move |shared| shared.difference(base, Heap::Kept(later)))
    }

    fn pprof(&self, view: impl FnOnce(&Shared) -> Result<View> + Send + 'static) -> Result<Vec<u8>> {
        self.render(Operation::Pprof, move |shared, namer, _| {
            let mut bytes = Vec::new();
            let shown = Shown { default_sample_type: "inuse_space", trim: Trim::Std };
            view(shared)?
                .write_pprof(namer, &shown, &mut bytes)
                .map_err(|error| Error::io("writing a profile", error))?;
            Ok(bytes)
        })
    }

    /// Has `work` done by the renderer and waits for it.
    fn render<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Shared, &mut Namer<'_>, &Wanted) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        let asker = Asker::new();
        let wanted = asker.wanted();
        self.shared()?.render(operation, move |shared, namer| {
            // Who asked may have given up while this was waiting: then there is nobody to work for.
            let done = wanted.check().and_then(|()| work(shared, namer, &wanted));
            // Gone only when the caller is.
            let _ = reply.try_send(done);
        })?;
        let answer = wait(&answer);
        drop(asker);
        answer?
    }

    /// What the trigger made of the last reading, and why: "not taken: 37 s of the 60 s interval left".
    pub fn last_decision(&self) -> String {
        match self.shared() {
            Ok(shared) => shared.status().decision.to_string(),
            Err(error) => format!("not taken: {error}"),
        }
    }

    /// Every sampled object that is alive, for heapward's own tests.
    #[doc(hidden)]
    pub fn live_samples(&self) -> Vec<LiveSample> {
        let Ok(shared) = self.shared() else { return Vec::new() };
        let collector = shared.collector();
        let sample = |object: LiveObject| LiveSample {
            address: object.address,
            requested: object.requested,
            stack: object.stack.0,
            usable: object.usable,
            epoch: object.epoch,
            birth_millis: object.birth_millis,
            depth: collector.stacks().frames(object.stack).len(),
        };
        collector.live_objects().into_iter().map(sample).collect()
    }

    /// Has every stack walked by libgcc as well from now on, for heapward's own tests.
    #[doc(hidden)]
    pub fn compare_unwinders(&self) -> Result<()> {
        self.shared()?.collector().compare_unwinders()
    }

    /// What came of that, for heapward's own tests.
    #[doc(hidden)]
    pub fn compared_unwinders(&self) -> ComparedUnwinders {
        let Ok(shared) = self.shared() else { return ComparedUnwinders::default() };
        let report = shared.collector().unwinder();
        let compared = shared.collector().compared_unwinders();
        ComparedUnwinders {
            name: report.in_use.name(),
            walks: compared.walks,
            equal: compared.equal,
            frames: compared.frames,
            last_in_common: compared.last_in_common,
        }
    }

    /// The distinct epochs of a snapshot's cohorts, rising, for heapward's own tests.
    #[doc(hidden)]
    pub fn snapshot_epochs(&self, snapshot: Selector) -> Result<Vec<u32>> {
        let snapshot = self.shared()?.history().find(snapshot)?;
        let epochs: BTreeSet<u32> = snapshot.cohorts.iter().map(|cohort| cohort.epoch).collect();
        Ok(epochs.into_iter().collect())
    }

    /// Stops sampling; what is alive stays in the live set until it is freed. Snapshots from now on are marked
    /// partial, also after [`Profiler::resume`].
    ///
    /// # Errors
    ///
    /// When the profiler does not run, or jemalloc refuses.
    pub fn pause(&self) -> Result<()> {
        self.shared()?.collector().pause()
    }

    /// Samples again.
    ///
    /// # Errors
    ///
    /// As [`Profiler::pause`].
    pub fn resume(&self) -> Result<()> {
        self.shared()?.collector().resume()
    }

    /// The server's routes, for the host's own server: as a warp filter and as a tower service.
    pub fn routes(&self) -> Routes {
        Routes::new(self.running.as_ref().map(|running| Arc::clone(running.workers.shared())))
    }

    /// Ends heapward's threads, closes its port and stops sampling. Waits until that is done.
    pub fn shutdown(mut self) {
        if let Some(mut running) = self.running.take() {
            running.stop();
            running.workers.join();
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            running.stop();
        }
    }
}

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiler").field("enabled", &self.is_enabled()).field("address", &self.address()).finish()
    }
}

impl Running {
    /// Tells everything to end. Safe to call twice.
    fn stop(&mut self) {
        self.workers.stop();
        if let Some(server) = &mut self.server {
            // Before the descriptor is closed and its number another file's.
            close_in_child(None);
            server.stop();
        }
    }
}

fn wait<T>(answer: &Receiver<T>) -> Result<T> {
    answer.recv_timeout(PATIENCE).map_err(|error| {
        let message = match error {
            RecvTimeoutError::Timeout => {
                format!("heapward's own thread gave no answer within {} s", PATIENCE.as_secs())
            }
            RecvTimeoutError::Disconnected => {
                "heapward's own thread gave this request up: it failed or is shutting down".to_owned()
            }
        };
        Error::new(ErrorKind::Busy, message)
    })
}

/// Says why the unwinder is not a better one; louder where that one was asked for.
fn log_unwinder(report: &UnwindReport) {
    for Rejected { unwinder, reason } in &report.rejected {
        if *unwinder == report.asked {
            tracing::warn!("heapward: the unwinder {unwinder} was asked for and does not work here: {reason}");
        } else {
            tracing::info!("heapward: stacks are not walked by {unwinder}: {reason}");
        }
    }
}
