//! What heapward's threads and its handles share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::answer_room::{AnswerRoom, AnswerRooms};
use super::growths::Growths;
use super::monitoring::Monitoring;
use super::reader::Reader;
use super::render::Job;
use super::slow::Operation;
use super::status::Status;
use super::watch::Command;
use super::{Config, Disk, EarlierHeap, Gauges, LeakReport, Moment, Namer, Stacks, Story, View, Wanted};
use crate::alerts::Desk;
use crate::analysis::growth::{Basis, Circumstances, Hindrance, LEAST_SNAPSHOTS};
use crate::analysis::{HeapGrowth, series_of_all};
use crate::collect::{Collector, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Episodes, Naming};
use crate::profile::{Address, CgroupMemory, Frame, Partial, Profile, Sums, Whole};
use crate::snapshot::{History, Selector, Snapshot};
use crate::system::{loaded_mappings, purge_decayed};

/// So many snapshots are compared at most: what judging takes rises with the square of their number, and more than
/// these tell hardly more.
pub(super) const COMPARED: usize = 64;

/// What a profile is made of.
#[derive(Clone, Debug)]
pub(crate) enum Heap {
    /// The heap as it is now.
    Live,
    /// A snapshot that is kept.
    Kept(Selector),
    /// A snapshot of an earlier run, as it was read: whoever makes profiles waits for no disk.
    Earlier(EarlierHeap),
}

impl From<Selector> for Heap {
    fn from(selector: Selector) -> Self {
        Self::Kept(selector)
    }
}

/// What heapward's threads and its handles share.
pub(crate) struct Shared {
    pub(super) config: Config,
    pub(super) collector: &'static Collector,
    started: Instant,
    history: Mutex<History>,
    growths: Growths,
    status: Mutex<Status>,
    episodes: Mutex<Episodes>,
    pub(super) commands: SyncSender<Command>,
    pub(super) jobs: SyncSender<Job>,
    cached_symbols: AtomicUsize,
    cached_symbol_bytes: AtomicUsize,
    stopped: AtomicBool,
    /// Copies of the heap that wait for a later one.
    differences: AtomicUsize,
    /// In answers that clients have not read yet.
    answers: AnswerRooms,
    /// Requests that wait for time to pass.
    pub(super) waiting: AtomicUsize,
    /// Requests that were refused because there was too much to do.
    refused: AtomicU64,
    /// Threads of [`Shared::aside`]; those that have ended are dropped at the next.
    asides: Mutex<Vec<JoinHandle<()>>>,
    cgroup: String,
    pub(super) monitoring: Monitoring,
    /// `None` where there are no alerts.
    pub(super) alerts: Option<Desk>,
    disk: Disk,
    /// Reads what earlier runs left.
    pub(super) reader: Arc<Reader>,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        collector: &'static Collector,
        gauges: &Gauges,
        commands: SyncSender<Command>,
        jobs: SyncSender<Job>,
        alerts: Option<Desk>,
        disk: Disk,
    ) -> Self {
        Self {
            alerts,
            history: Mutex::new(History::new(config.retention)),
            growths: Growths::default(),
            status: Mutex::new(Status::new()),
            episodes: Mutex::default(),
            started: gauges.started(),
            cgroup: gauges.describe_cgroup(),
            cached_symbols: AtomicUsize::new(0),
            cached_symbol_bytes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            differences: AtomicUsize::new(0),
            answers: AnswerRooms::default(),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            asides: Mutex::new(Vec::new()),
            monitoring: Monitoring::new(&config),
            disk,
            reader: Arc::default(),
            config,
            collector,
            commands,
            jobs,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn collector(&self) -> &'static Collector {
        self.collector
    }

    /// Snapshots on disk.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Stops taking requests; true when that was so already.
    pub(super) fn stop(&self) -> bool {
        self.stopped.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is watched beside the heap.
    pub(crate) fn monitoring(&self) -> &Monitoring {
        &self.monitoring
    }

    /// Where alerts are handed in; `None` where there are none.
    pub(crate) fn alerts(&self) -> Option<&Desk> {
        self.alerts.as_ref()
    }

    /// Which control group the limit is taken from, in words.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// How many addresses have their names remembered.
    pub(crate) fn cached_symbols(&self) -> usize {
        self.cached_symbols.load(Ordering::Relaxed)
    }

    /// About how many bytes those take.
    pub(crate) fn cached_symbol_bytes(&self) -> usize {
        self.cached_symbol_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn episodes(&self) -> MutexGuard<'_, Episodes> {
        self.episodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the watcher polled last, and how long it may take until it counts as stuck.
    pub(crate) fn heartbeat(&self) -> (Duration, Duration) {
        let last = self.status().last_poll.unwrap_or_default();
        let allowed = self.config.poll_interval * 3 + Duration::from_secs(5);
        (self.uptime().saturating_sub(last), allowed)
    }

    /// Asks for a snapshot; `reply` gets it on the watcher's thread, and must not block there.
    pub(crate) fn request_snapshot(&self, reply: impl FnOnce(Result<Arc<Snapshot>>) + Send + 'static) -> Result<()> {
        self.send(&self.commands, Command::Snapshot(Box::new(reply)))
    }

    /// Has `work` done on the renderer's thread, away from the host's threads and unsampled.
    pub(crate) fn render(
        self: &Arc<Self>,
        operation: Operation,
        work: impl FnOnce(&Self, &mut Namer<'_>) + Send + 'static,
    ) -> Result<()> {
        let shared = Arc::clone(self);
        self.send(
            &self.jobs,
            Job::Work(Box::new(move |cache| {
                let timed = shared.monitoring.slow.time(operation);
                work(&shared, &mut Namer::new(cache, shared.naming()).timed(&shared.monitoring.slow));
                drop(timed);
                shared.cached_symbols.store(cache.len(), Ordering::Relaxed);
                shared.cached_symbol_bytes.store(cache.bytes(), Ordering::Relaxed);
            })),
        )
    }

    fn send<T>(&self, queue: &SyncSender<T>, item: T) -> Result<()> {
        if self.collector.is_quiet() {
            return Err(Collector::forked());
        }
        if self.is_stopped() {
            return Err(stopped());
        }
        queue.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.count_refused();
                Error::new(ErrorKind::Busy, "heapward has as many requests waiting as it takes: ask again in a moment")
            }
            TrySendError::Disconnected(_) => stopped(),
        })
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Room for one more answer, which counts until it is dropped.
    pub(crate) fn answer_room(&self) -> Result<AnswerRoom> {
        self.answers.one().inspect_err(|_| self.count_refused())
    }

    /// How many bytes answers hold that their clients have not read yet.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.answers.bytes()
    }

    /// How many requests wait for time to pass: differences over time and CPU profiles, which have begun.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many requests were refused because there was too much to do.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Keeps a thread to be waited for at the end.
    pub(super) fn remember(&self, thread: JoinHandle<()>) {
        let mut asides = self.asides.lock().unwrap_or_else(PoisonError::into_inner);
        asides.retain(|thread| !thread.is_finished());
        asides.push(thread);
    }

    /// The threads that wait for time to pass.
    pub(super) fn asides(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.asides.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether names may be looked up now, by the settings and the last reading.
    fn naming(&self) -> Naming {
        Naming::decide(self.config.symbolize, self.config.symbolize_headroom, &self.last_cgroup())
    }

    /// The control group of the last reading; nothing known before the first.
    pub(super) fn last_cgroup(&self) -> CgroupMemory {
        self.status().reading.map(|reading| reading.cgroup).unwrap_or_default()
    }

    /// The heap that `heap` names, for the renderer's thread.
    pub(crate) fn moment(&self, heap: Heap) -> Result<Moment> {
        match heap {
            Heap::Live => {
                // Not under the lock: the watcher would wait for the copy.
                let told_apart = self.history().epochs();
                Moment::now(self.collector, &told_apart)
            }
            Heap::Kept(selector) => Ok(Moment::Kept(self.history().find(selector)?)),
            earlier @ Heap::Earlier(..) => Ok(self.moment_and_stacks(earlier)?.0),
        }
    }

    /// The snapshot `base` and the heap `later`, which tells apart what was born before and after `base`.
    pub(super) fn moments(&self, base: Heap, later: Heap) -> Result<(Moment, Moment)> {
        let base = self.moment(base)?;
        let later = match later {
            Heap::Live => {
                // The base may have left the history since.
                let mut told_apart = self.history().epochs();
                told_apart.push(base.epoch());
                told_apart.sort_unstable();
                Moment::now(self.collector, &told_apart)?
            }
            kept => self.moment(kept)?,
        };
        Ok((base, later))
    }

    /// Keeps a snapshot, and judges the growth until it once for all who will ask: before anybody can.
    pub(super) fn keep(&self, snapshot: Arc<Snapshot>) {
        let mut snapshots = self.history().consecutive(None, COMPARED - 1);
        let past = self.past();
        snapshots.push(Arc::clone(&snapshot));
        self.growths.of(snapshot.id, || self.judge_growth(&snapshots, &past));
        let mut history = self.history();
        history.push(snapshot);
        self.growths.retain(|id| history.keeps(id));
        drop(history);
        self.disk.wake();
    }

    /// How the live heap as a whole went until the snapshot `id`, by those that were kept when it was taken.
    pub(crate) fn heap_growth(&self, id: u64) -> HeapGrowth {
        self.growths.of(id, || {
            let snapshots = self.history().consecutive(Some(id), COMPARED);
            self.judge_growth(&snapshots, &self.past())
        })
    }

    /// How it went until the last snapshot, for one who asks now: what samples missed since leaves doubt.
    pub(crate) fn heap_growth_now(&self) -> HeapGrowth {
        let snapshots = self.history().consecutive(None, COMPARED);
        let circumstances = self.circumstances();
        match snapshots.last() {
            // Nothing was missed since: judged already.
            Some(last) if circumstances.now.is_none_or(|now| now == last.gaps) => self.heap_growth(last.id),
            _ => self.judge_growth(&snapshots, &circumstances),
        }
    }

    /// What has been missed since is nothing to a moment that is past.
    fn past(&self) -> Circumstances {
        Circumstances { now: None, ..self.circumstances() }
    }

    fn judge_growth(&self, snapshots: &[Arc<Snapshot>], circumstances: &Circumstances) -> HeapGrowth {
        let gaps: Vec<_> = snapshots.iter().map(|snapshot| (Some(snapshot.id), snapshot.gaps)).collect();
        let basis = Basis::of(&gaps, circumstances);
        let snapshots = snapshots.get(basis.start..).unwrap_or_default();
        let wholes: Vec<(u32, &Whole)> = snapshots.iter().map(|snapshot| (snapshot.epoch, &snapshot.whole)).collect();
        let seconds: Vec<f64> = snapshots.iter().map(|snapshot| snapshot.reading.uptime.as_secs_f64()).collect();
        let series = series_of_all(&wholes, &seconds);
        HeapGrowth::of(&basis.judge(&series, self.collector.interval()), &series, &basis)
    }

    /// How the kept history came about.
    fn circumstances(&self) -> Circumstances {
        let too_few = {
            let history = self.history();
            // Beside the ring stands the first one.
            let is_too_few = |kept: usize| kept + 1 < LEAST_SNAPSHOTS;
            let (most, kept) = (history.most(), history.len());
            if is_too_few(most) {
                Some(Hindrance::SmallHistory { kept: most })
            } else {
                (is_too_few(kept) && history.evicted() > 0).then_some(Hindrance::SmallHistoryBytes { kept })
            }
        };
        let circumstances = circumstances_of(self.collector);
        Circumstances { never: circumstances.never.or(too_few), ..circumstances }
    }

    /// What grows without bound over the kept snapshots, for the renderer's thread.
    ///
    /// # Errors
    ///
    /// When nobody waits for it any more, or heapward ends: it takes long where there is much to judge.
    pub(crate) fn leaks(&self, namer: &mut Namer<'_>, wanted: &Wanted) -> Result<LeakReport> {
        let go_on = || if self.is_stopped() { Err(stopped()) } else { wanted.check() };
        go_on()?;
        let snapshots = self.history().consecutive(None, COMPARED);
        let moment = |snapshot: Arc<Snapshot>| (snapshot.reading.uptime.as_secs_f64(), Moment::Kept(snapshot));
        let story =
            Story::of(snapshots.into_iter().map(moment).collect(), &self.circumstances(), self.collector, namer);
        LeakReport::of(&story, &self.last_cgroup(), go_on)
    }

    /// The profile of `heap`, with names, for the renderer's thread.
    pub(crate) fn profile(&self, heap: Heap, namer: &mut Namer<'_>) -> Result<Profile> {
        Ok(self.view(heap)?.profile(namer))
    }

    /// The same, and what was sampled of the live objects of each of its samples.
    pub(crate) fn measured_profile(&self, heap: Heap, namer: &mut Namer<'_>) -> Result<(Profile, Vec<Sums>)> {
        let view = self.view(heap)?;
        Ok((view.profile(namer), view.live()))
    }

    /// The names of `addresses` in the files that are loaded now, for the renderer's thread.
    pub(crate) fn names(&self, addresses: &[Address], namer: &mut Namer<'_>) -> HashMap<Address, Frame> {
        namer.names(addresses.iter().copied(), &loaded_mappings())
    }

    /// Has jemalloc give back the pages that have been unused for its decay time.
    pub(crate) fn purge_decayed(&self) -> Result<()> {
        purge_decayed()
    }

    /// The right to keep a copy of the heap until a later one is taken, of which there are at most `most` at once.
    pub(crate) fn take_difference(self: &Arc<Self>, most: usize) -> Result<Difference> {
        let turn = Difference { shared: Arc::clone(self) };
        if self.differences.fetch_add(1, Ordering::Relaxed) >= most {
            self.count_refused();
            let message =
                format!("{most} differences over time are being taken, which is as many as at once: ask again later");
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Ok(turn)
    }

    /// What changed from the snapshot `base` to `later`.
    pub(crate) fn difference(&self, base: impl Into<Heap>, later: Heap) -> Result<View> {
        let (base, later, stacks) = self.moments_and_stacks(base.into(), later)?;
        Ok(View::difference(base, later, stacks, self.started))
    }

    /// What changed from `base` to `later`, both of this run.
    pub(crate) fn between(&self, base: Moment, later: Moment) -> View {
        View::difference(base, later, Stacks::collected(self.collector), self.started)
    }

    /// Time between two moments, whichever is the older one.
    pub(super) fn apart(&self, one: &Moment, other: &Moment) -> Duration {
        one.apart(other, self.started)
    }

    /// What is shown of `heap`: all of it.
    pub(crate) fn view(&self, heap: Heap) -> Result<View> {
        let (moment, stacks) = self.moment_and_stacks(heap)?;
        Ok(View::of(moment, stacks))
    }
}

/// How whatever is collected there comes about.
pub(super) fn circumstances_of(collector: &Collector) -> Circumstances {
    // What is off now has not been noticed yet.
    collector.check();
    Circumstances {
        never: (collector.source() == Source::Dump).then_some(Hindrance::NoBirthdays),
        is_of_some_threads: collector.partial().is_some_and(|partial| partial.has(Partial::SOME_THREADS)),
        now: Some(collector.gaps()),
    }
}

/// What [`Shared::take_difference`] gives, until it is dropped.
pub(crate) struct Difference {
    shared: Arc<Shared>,
}

impl Drop for Difference {
    fn drop(&mut self) {
        self.shared.differences.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The error of everything that is asked of a profiler that does not run.
pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::NotRunning, "heapward is switched off (HEAPWARD_ENABLED=false) or has been shut down")
}
