//! Whether all that a recording should see is sampled, from its begin to its end.

use crate::collect::{Collector, Limits, Source, Unwinder};
use crate::error::{Error, ErrorKind, Result};
use crate::system::{Profiling, is_this_thread_sampled, thread_allocated};

/// When allocations come to so many sample intervals and none was sampled, none can be: chance alone leaves e^-32, once in
/// 10^13 times, whatever their sizes.
const LEAST_DUE: u64 = 32;

/// Sampling that is on for as long as this lives, and was seen to be. Of the thread that made it, and not to be moved
/// to another.
pub(super) struct Sight {
    collector: &'static Collector,
    was_active: bool,
    /// As they were at the begin.
    begin: Counts,
    /// As they were when the epoch that goes on began.
    epoch: Counts,
    /// Samples, and bytes that this thread allocated, in the epochs that ended: not of what was done between two.
    samples: u64,
    allocated: u64,
}

/// What only rises.
#[derive(Clone, Copy)]
struct Counts {
    switched: [u64; 2],
    dropped_objects: u64,
    dropped_stacks: u64,
    samples: u64,
    /// Bytes of this thread.
    allocated: Option<u64>,
}

impl Counts {
    fn of(collector: &Collector) -> Self {
        let stats = collector.stats();
        Self {
            switched: collector.switched(),
            dropped_objects: stats.dropped_objects,
            dropped_stacks: stats.dropped_stacks,
            samples: stats.samples,
            allocated: thread_allocated(),
        }
    }
}

impl Sight {
    /// Samples from now on; an error where not everything would be seen.
    pub(super) fn open(limits: Limits) -> Result<Self> {
        let options = Profiling::probe()?;
        let collector = Collector::start(limits, Collector::best_source(), Unwinder::Auto, false)?;
        let begin = Counts::of(collector);
        let sight = Self { collector, was_active: options.active, begin, epoch: begin, samples: 0, allocated: 0 };
        if collector.source() == Source::Dump {
            return Err(blind(
                "samples are read from jemalloc's dumps, which do not tell what is new: that takes the hooks of \
                 jemalloc 5.3.1 (tikv-jemallocator 0.7), and HEAPWARD_COLLECTOR may not be dump",
            ));
        }
        if !options.all_threads {
            return Err(blind(
                "only threads that ask for it are sampled: take prof_thread_active_init:false out of MALLOC_CONF and of \
                 heapward::install!",
            ));
        }
        sight.look()?;
        Ok(sight)
    }

    pub(super) fn collector(&self) -> &'static Collector {
        self.collector
    }

    /// An error when this thread is not sampled at this moment.
    pub(super) fn look(&self) -> Result<()> {
        if !Profiling::is_active() || self.collector.switched()[0] != self.begin.switched[0] {
            return Err(blind(
                "sampling was switched off meanwhile: nothing may call Profiler::shutdown or Profiler::pause, drop a \
                 Profiler or set jemalloc's prof.active while this runs; put this test into a file of its own",
            ));
        }
        if !is_this_thread_sampled() {
            return Err(blind("this thread is not sampled: jemalloc's thread.prof.active is false here"));
        }
        Ok(())
    }

    /// An epoch ends.
    pub(super) fn end_epoch(&mut self) {
        let now = Counts::of(self.collector);
        self.samples += now.samples - self.epoch.samples;
        let allocated = now.allocated.zip(self.epoch.allocated);
        self.allocated += allocated.map_or(0, |(now, before)| now.saturating_sub(before));
    }

    /// Another one begins.
    pub(super) fn begin_epoch(&mut self) {
        self.epoch = Counts::of(self.collector);
    }

    /// An error when something was missed since the begin.
    pub(super) fn look_back(&self) -> Result<()> {
        self.look()?;
        let Counts { dropped_objects, dropped_stacks, .. } = Counts::of(self.collector);
        if Profiling::interval() != Some(self.collector.interval()) {
            return Err(blind(
                "jemalloc's sample interval was changed after the first use of heapward: its profiler was reset",
            ));
        }
        let dropped = dropped_objects - self.begin.dropped_objects;
        if dropped > 0 {
            let limit = self.collector.stats().live_objects_limit;
            return Err(missed(format!(
                "{dropped} samples found no room among the {limit} that may be alive: raise HEAPWARD_MAX_LIVE_SAMPLES or \
                 max_live_samples where this process starts a Profiler, or sample less with a larger lg_prof_sample in \
                 heapward::install!"
            )));
        }
        let dropped = dropped_stacks - self.begin.dropped_stacks;
        if dropped > 0 {
            let limit = self.collector.stats().stacks_limit;
            return Err(missed(format!(
                "{dropped} samples have no stack, because the {limit} that are kept are taken: raise HEAPWARD_MAX_STACKS \
                 or max_stacks where this process starts a Profiler"
            )));
        }
        let interval = self.collector.interval().bytes();
        if self.samples == 0 && self.allocated / interval >= LEAST_DUE {
            return Err(blind(&format!(
                "this thread allocated {} bytes and none was sampled, of one in {interval}: something switches \
                 jemalloc's prof.active or thread.prof.active off",
                self.allocated
            )));
        }
        Ok(())
    }
}

impl Drop for Sight {
    /// Puts sampling back as it was, unless somebody else switched it since.
    fn drop(&mut self) {
        if self.was_active || self.collector.is_quiet() || self.collector.switched() != self.begin.switched {
            return;
        }
        if let Err(error) = self.collector.pause() {
            tracing::warn!("heapward: sampling could not be switched off again: {error}");
        }
    }
}

fn blind(message: &str) -> Error {
    Error::new(ErrorKind::Allocator, message)
}

fn missed(message: String) -> Error {
    Error::config(message)
}
