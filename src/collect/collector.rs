//! The collector: what the hooks write to and what a snapshot is copied from.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::dump;
use super::hooks;
use super::live_copy::{LiveCopy, Scratch};
use super::live_set::{LiveObject, LiveSet, NewObject};
use super::stack_table::StackTable;
#[cfg(feature = "cpu")]
use super::unwind::UndisturbedUnwinding;
use super::unwind::{Comparison, UnwindReport, Unwinder, Unwinding};
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{Cohorts, Gaps, PackedTotals, Partial, SampleInterval, Sums, Totals, Whole};
use crate::system::{CoarseClock, ForkMark, Profiling, ProfilingOptions};

/// How much the collector may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Distinct stacks.
    pub(crate) stacks: usize,
    /// Live sampled objects.
    pub(crate) live_objects: usize,
}

/// Where the samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// jemalloc's hooks feed a live set.
    Hooks,
    /// jemalloc dumps its own table into memory when a snapshot is taken.
    Dump,
}

/// A copy of the live heap's table at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    /// The epoch that ended with it, or that goes on when the capture ended none.
    pub(crate) epoch: u32,
    /// What is alive.
    pub(crate) cohorts: Cohorts,
    /// All stacks together.
    pub(crate) whole: Whole,
    /// What was ever allocated; empty when the source does not tell.
    pub(crate) totals: PackedTotals,
    /// What samples missed so far: the estimates miss what of it is still alive.
    pub(crate) gaps: Gaps,
    /// Samples whose stack had found no room so far.
    pub(crate) dropped_stacks: u64,
    /// Why it does not show everything.
    pub(crate) partial: Option<Partial>,
}

/// The collector's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CollectorStats {
    /// Sampled objects alive.
    pub(crate) live_objects: u64,
    pub(crate) live_objects_limit: u64,
    /// Distinct stacks seen.
    pub(crate) stacks: u64,
    pub(crate) stacks_limit: u64,
    /// Frames of those stacks.
    pub(crate) frames: u64,
    pub(crate) frames_limit: u64,
    /// Samples that found no room in the live set.
    pub(crate) dropped_objects: u64,
    pub(crate) dropped_bytes: u64,
    /// Samples whose stack found no room: counted without frames.
    pub(crate) dropped_stacks: u64,
    /// Frees of objects that were never added.
    pub(crate) unknown_frees: u64,
    /// Samples ever taken.
    pub(crate) samples: u64,
    /// Estimate of the resident bytes of its tables.
    pub(crate) tables_bytes: u64,
}

/// The one that [`Collector::start`] made.
static ONLY: OnceLock<&'static Collector> = OnceLock::new();

/// There is one collector a process, as there is one jemalloc; it lives until the process ends.
pub(crate) struct Collector {
    interval: SampleInterval,
    source: Source,
    stacks: StackTable,
    live: LiveSet,
    clock: CoarseClock,
    /// The bits of [`Partial`].
    partial: AtomicU8,
    /// As in [`Gaps`].
    pauses: AtomicU64,
    rescales: AtomicU64,
    /// How often somebody asked for sampling to stop, and to go on.
    switched: [AtomicU64; 2],
    fork: ForkMark,
    unwinding: Unwinding,
    /// Whether jemalloc need not know of stacks.
    keep_stacks: bool,
    /// Only one capture at a time, so that epochs end in the order of their numbers.
    capturing: Mutex<Scratch>,
    /// What that takes.
    scratch_bytes: AtomicU64,
}

impl Collector {
    /// The collector of this process, sampling from now on: created by the first call, resumed by a later one, which
    /// keeps the first one's limits and unwinder.
    ///
    /// With `jemalloc_stacks`, jemalloc's own tables get the stacks as well, for its dumps.
    pub(crate) fn start(
        limits: Limits,
        source: Source,
        unwinder: Unwinder,
        jemalloc_stacks: bool,
    ) -> Result<&'static Self> {
        static STARTING: Mutex<()> = Mutex::new(());
        Self::refuse_in_child()?;
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);

        let options = Profiling::probe()?;
        if let Some(collector) = ONLY.get() {
            collector.resume()?;
            return Ok(collector);
        }
        let keep_stacks = source == Source::Hooks && !jemalloc_stacks && !options.reads_stacks();
        let collector: &'static Self = Box::leak(Box::new(Self::new(limits, source, unwinder, keep_stacks, options)?));
        if source == Source::Hooks {
            hooks::install(collector)?;
        }
        // Only now: a sample that comes before the hooks would be missing for ever.
        collector.set_active(true)?;
        Ok(ONLY.get_or_init(|| collector))
    }

    fn new(
        limits: Limits,
        source: Source,
        unwinder: Unwinder,
        keep_stacks: bool,
        options: ProfilingOptions,
    ) -> Result<Self> {
        let stacks = StackTable::new(limits.stacks)
            .map_err(|error| Error::io("reserving address space for the stack table", error))?;
        let collector = Self {
            interval: options.interval,
            source,
            stacks,
            live: LiveSet::new(limits.live_objects, options.interval),
            clock: CoarseClock::start(),
            partial: AtomicU8::new(0),
            pauses: AtomicU64::new(0),
            rescales: AtomicU64::new(0),
            switched: [AtomicU64::new(0), AtomicU64::new(0)],
            fork: ForkMark::new().map_err(|error| Error::io("preparing for forks of the process", error))?,
            // Last: it is seen by all of the process.
            unwinding: Unwinding::start(unwinder),
            keep_stacks,
            capturing: Mutex::default(),
            scratch_bytes: AtomicU64::new(0),
        };
        if !options.all_threads {
            collector.set_partial(Partial::SOME_THREADS);
        }
        if options.active && source == Source::Hooks {
            collector.set_partial(Partial::EARLY);
        }
        Ok(collector)
    }

    /// An error in a forked child of a process that started a collector.
    pub(crate) fn refuse_in_child() -> Result<()> {
        match ONLY.get() {
            Some(collector) if collector.is_quiet() => Err(Self::forked()),
            _ => Ok(()),
        }
    }

    /// The hooks if this jemalloc has them, else its dumps.
    pub(crate) fn best_source() -> Source {
        if Profiling::has_hooks() { Source::Hooks } else { Source::Dump }
    }

    /// Called inside `malloc`.
    pub(super) fn sampled(&self, address: u64, requested: u64, usable: u64, frames: &[u64]) {
        let stack = self.stacks.intern(frames);
        // Counted before it is alive: what is in use never exceeds what was allocated.
        let weight = self.live.weigh(usable);
        self.stacks.count(stack, &weight);
        let birth_millis = self.clock.elapsed_millis();
        self.live.insert(&NewObject { address, requested, usable, birth_millis, stack, weight });
    }

    /// Called inside `free`.
    pub(super) fn freed(&self, address: u64, usable: u64) {
        if let Some(object) = self.live.remove(address, usable) {
            let lifetime_millis = self.clock.elapsed_millis().saturating_sub(object.birth_millis);
            self.stacks.note_lifetime(object.stack, lifetime_millis);
        }
    }

    /// Copies the live heap and ends the epoch. For the profiler's own, unsampled threads.
    ///
    /// `told_apart` are the epochs that kept snapshots ended, rising: what was born between two of them is one cohort.
    pub(crate) fn snapshot(&self, told_apart: &[u32]) -> Result<Capture> {
        self.capture(true, told_apart)
    }

    /// Copies the live heap and lets the epoch go on. For the profiler's own, unsampled threads.
    pub(crate) fn peek(&self, told_apart: &[u32]) -> Result<Capture> {
        self.capture(false, told_apart)
    }

    fn capture(&self, end_epoch: bool, told_apart: &[u32]) -> Result<Capture> {
        if self.is_quiet() {
            return Err(Self::forked());
        }
        let mut scratch = self.capturing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut capture = match self.source {
            Source::Hooks => self.copy_live_set(&mut scratch, end_epoch, told_apart),
            Source::Dump => dump::capture(&self.stacks, self.interval)?,
        };
        // Twice: what is off now was so before this moment, and will be after it.
        self.check();
        capture.gaps = self.gaps();
        capture.partial = self.partial();
        self.check();
        Ok(capture)
    }

    fn copy_live_set(&self, scratch: &mut Scratch, end_epoch: bool, told_apart: &[u32]) -> Capture {
        let epoch = if end_epoch { self.live.advance_epoch() } else { self.live.epoch() };
        // Room for all at once, with what is added meanwhile: growing would copy, and leave the copies behind.
        let mut copy = LiveCopy::new(scratch, self.live.len() as usize * 9 / 8 + 1024, told_apart, epoch);
        self.live.copy(&mut copy);
        // After the walk: an object that is in it has been counted.
        let (cohorts, whole) = copy.cohorts(self.stacks.len() as usize + 1, self.interval);
        self.scratch_bytes.store(scratch.bytes(), Ordering::Relaxed);
        let mut allocated = Totals::default();
        let totals = self.stacks.totals().inspect(|totals| allocated += *totals);
        let totals = PackedTotals::pack(self.stacks.len() as usize, totals);
        Capture {
            epoch,
            whole: Whole { allocated, ..whole },
            cohorts,
            totals,
            dropped_stacks: self.stacks.overflowed(),
            gaps: Gaps::default(),
            partial: None,
        }
    }

    /// Sums over the objects that are alive, and over those of less than [`SMALL_BYTES`](crate::profile::SMALL_BYTES); none is
    /// looked at. `None` where jemalloc's dumps are read instead.
    pub(crate) fn live_sums(&self) -> Option<[Sums; 2]> {
        if self.is_quiet() || self.source != Source::Hooks {
            return None;
        }
        Some(self.live.sums())
    }

    /// Estimate of the resident bytes of the tables.
    pub(crate) fn tables_bytes(&self) -> u64 {
        let scratch = self.scratch_bytes.load(Ordering::Relaxed);
        self.live.resident_bytes_estimate()
            + self.stacks.resident_bytes_estimate()
            + self.unwinding.table_bytes()
            + scratch
    }

    /// Every object of the live set, with the numbers of their stacks: what the tests compare with an oracle.
    pub(crate) fn live_objects(&self) -> Vec<LiveObject> {
        self.live.objects()
    }

    /// Stops sampling. Frees of what is alive are still noted, so the live set stays true for what is in it.
    pub(crate) fn pause(&self) -> Result<()> {
        self.switched[0].fetch_add(1, Ordering::Relaxed);
        self.set_active(false)?;
        self.note_pause();
        Ok(())
    }

    /// While heapward does not sample, whoever else does has jemalloc's stacks.
    fn set_active(&self, active: bool) -> Result<()> {
        self.unwinding.keep_stacks(active && self.keep_stacks);
        Profiling::set_active(active).inspect_err(|_| self.unwinding.keep_stacks(false))
    }

    /// Until what is returned is dropped, libgcc's unwinder walks with SIGPROF held back: it must not be interrupted by a
    /// CPU profiler's signal and run once more inside of itself.
    #[cfg(feature = "cpu")]
    pub(crate) fn shield_unwinding(&self) -> Result<UndisturbedUnwinding> {
        self.unwinding.shield()
    }

    /// Which unwinder is in use, and why not a better one.
    pub(crate) fn unwinder(&self) -> UnwindReport {
        self.unwinding.report()
    }

    /// Has every stack walked by libgcc as well and compared, from now on, for heapward's own tests.
    pub(crate) fn compare_unwinders(&self) -> Result<()> {
        self.unwinding.compare()
    }

    /// What came of that so far.
    pub(crate) fn compared_unwinders(&self) -> Comparison {
        self.unwinding.compared()
    }

    /// Samples again.
    pub(crate) fn resume(&self) -> Result<()> {
        // What was off until now is a gap for the next moment too, whatever the last one saw.
        self.check();
        self.switched[1].fetch_add(1, Ordering::Relaxed);
        self.set_active(true)
    }

    /// How often somebody asked for sampling to stop, and to go on.
    pub(crate) fn switched(&self) -> [u64; 2] {
        [self.switched[0].load(Ordering::Relaxed), self.switched[1].load(Ordering::Relaxed)]
    }

    /// Looks whether jemalloc's profiler is switched off or was reset, which nothing tells, as a host may do so itself; and
    /// whether libraries were loaded. What begins and ends between two looks is not seen.
    pub(crate) fn check(&self) {
        self.unwinding.refresh();
        if !Profiling::is_active() {
            self.note_pause();
        }
        if Profiling::interval().is_some_and(|interval| interval != self.interval) {
            self.rescales.fetch_add(1, Ordering::Relaxed);
            self.set_partial(Partial::INTERVAL_CHANGED);
        }
    }

    fn note_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
        self.set_partial(Partial::PAUSED);
    }

    /// What samples missed so far.
    pub(crate) fn gaps(&self) -> Gaps {
        let (dropped_objects, dropped_bytes) = self.live.dropped();
        Gaps {
            dropped_objects,
            dropped_bytes,
            pauses: self.pauses.load(Ordering::Relaxed),
            rescales: self.rescales.load(Ordering::Relaxed),
        }
    }

    fn set_partial(&self, partial: Partial) {
        self.partial.fetch_or(partial.bits(), Ordering::Relaxed);
    }

    /// Why not everything is shown, all reasons until now.
    pub(crate) fn partial(&self) -> Option<Partial> {
        Partial::of_bits(self.partial.load(Ordering::Relaxed))
    }

    /// The stacks that cohorts and totals name.
    pub(crate) fn stacks(&self) -> &StackTable {
        &self.stacks
    }

    /// R.
    pub(crate) fn interval(&self) -> SampleInterval {
        self.interval
    }

    /// Where the samples come from.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Whether this is a forked child, where nothing is collected any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.fork.is_child()
    }

    /// The error of everything that is asked of heapward in a forked child.
    pub(crate) fn forked() -> Error {
        Error::new(ErrorKind::NotRunning, "this is a forked child: heapward collects in the process that started it")
    }

    /// The collector's own figures.
    pub(crate) fn stats(&self) -> CollectorStats {
        if self.is_quiet() {
            return CollectorStats::default();
        }
        let (dropped_objects, dropped_bytes) = self.live.dropped();
        let (frames, frames_limit) = self.stacks.frame_counts();
        CollectorStats {
            live_objects: self.live.len(),
            live_objects_limit: self.live.capacity(),
            stacks: self.stacks.len(),
            stacks_limit: self.stacks.capacity(),
            frames,
            frames_limit,
            dropped_objects,
            dropped_bytes,
            dropped_stacks: self.stacks.overflowed(),
            unknown_frees: self.live.unknown_frees(),
            samples: self.live.samples(),
            tables_bytes: self.tables_bytes(),
        }
    }
}
