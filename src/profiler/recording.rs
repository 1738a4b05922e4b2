//! A history of the heap without a watcher: somebody else says when an epoch ends.

use std::time::Instant;

use super::moment::Moment;
use super::{DEFAULT_DEBUG_DIRS, DEFAULT_MAX_LIVE_SAMPLES, DEFAULT_MAX_STACKS, Namer, Story};
use crate::collect::{Collector, Limits, Unwinder};
use crate::error::Result;
use crate::policy::Naming;
use crate::profile::Place;
use crate::symbolize::{DEFAULT_CAPACITY, SymbolCache};
use crate::system::unsample_this_thread;

/// A history of the heap that is cut into epochs by hand.
pub(crate) struct Recording {
    collector: &'static Collector,
    begun: Instant,
    moments: Vec<(f64, Moment)>,
}

impl Recording {
    /// Samples from now on, beside a profiler that may be running.
    pub(crate) fn start() -> Result<Self> {
        let limits = Limits { stacks: DEFAULT_MAX_STACKS, live_objects: DEFAULT_MAX_LIVE_SAMPLES };
        let collector = Collector::start(limits, Collector::best_source(), Unwinder::Auto)?;
        Ok(Self { collector, begun: Instant::now(), moments: Vec::new() })
    }

    /// Ends an epoch.
    pub(crate) fn cut(&mut self) -> Result<()> {
        unsampled(|| {
            let told_apart: Vec<u32> = self.moments.iter().map(|(_, moment)| moment.side().epoch).collect();
            let moment = Moment::ending_epoch(self.collector, &told_apart)?;
            self.moments.push((self.begun.elapsed().as_secs_f64(), moment));
            Ok(())
        })
    }

    /// What `read` makes of the epochs that were cut, of the stacks whose frames, leaf first, `keep` says yes to.
    pub(crate) fn read<T: Send>(
        self,
        keep: impl Fn(&mut dyn Iterator<Item = Place<'_>>) -> bool + Send,
        read: impl FnOnce(&Story) -> T + Send,
    ) -> T {
        unsampled(|| {
            let mut cache = SymbolCache::new(DEFAULT_CAPACITY, vec![DEFAULT_DEBUG_DIRS.into()]);
            let circumstances = super::shared::circumstances_of(self.collector);
            let mut namer = Namer::new(&mut cache, Naming::Allowed);
            let mut story = Story::of(self.moments, &circumstances, self.collector, &mut namer);
            story.retain(keep);
            read(&story)
        })
    }
}

/// Has `work` done by a thread whose allocations are not sampled, and waits for it.
fn unsampled<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let run = || {
        unsample_this_thread();
        work()
    };
    match std::thread::scope(|scope| scope.spawn(run).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
