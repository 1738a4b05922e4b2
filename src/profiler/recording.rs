//! A history of the heap without a watcher: somebody else says when an epoch ends, and what time it is.

use super::lifetimes::Lifetimes;
use super::moment::Moment;
use super::sight::Sight;
use super::{DEFAULT_DEBUG_DIRS, DEFAULT_MAX_LIVE_SAMPLES, DEFAULT_MAX_STACKS, Namer, Story};
use crate::collect::Limits;
use crate::error::{Error, Result};
use crate::policy::Naming;
use crate::profile::{Place, SampleInterval};
use crate::symbolize::{DEFAULT_CAPACITY, SymbolCache};
use crate::system::unsample_this_thread;

/// A history of the heap that is cut into epochs by hand. Its time is what the caller counts, one unit for a second of
/// other histories; no clock takes part in it.
pub(crate) struct Recording {
    sight: Sight,
    moments: Vec<(f64, Moment)>,
    lifetimes: Lifetimes,
}

impl Recording {
    /// Samples from now on, beside a profiler that may be running, until it is read or dropped: then sampling is as it was.
    pub(crate) fn start() -> Result<Self> {
        let sight = Sight::open(Limits { stacks: DEFAULT_MAX_STACKS, live_objects: DEFAULT_MAX_LIVE_SAMPLES })?;
        Ok(Self { sight, moments: Vec::new(), lifetimes: Lifetimes::default() })
    }

    /// How the heap is sampled.
    pub(crate) fn interval(&self) -> SampleInterval {
        self.sight.collector().interval()
    }

    /// An error when the calling thread, which is the one that started it, is not sampled at this moment.
    pub(crate) fn look(&self) -> Result<()> {
        self.sight.look()
    }

    /// Ends an epoch, at a time that is after the last one's.
    pub(crate) fn cut(&mut self, at: u64) -> Result<()> {
        self.sight.end_epoch();
        let collector = self.sight.collector();
        unsampled(|| {
            let told_apart: Vec<u32> = self.moments.iter().map(|(_, moment)| moment.side().epoch).collect();
            let mut capture = collector.snapshot(&told_apart)?;
            self.lifetimes.retell(&mut capture, at);
            self.moments.push((at as f64, Moment::copied(capture)));
            Ok::<_, Error>(())
        })?;
        self.sight.begin_epoch();
        Ok(())
    }

    /// What `read` makes of the epochs that were cut, of the stacks whose frames, leaf first, `keep` says yes to.
    ///
    /// # Errors
    ///
    /// When something was missed.
    pub(crate) fn read<T: Send>(
        self,
        keep: impl Fn(&mut dyn Iterator<Item = Place<'_>>) -> bool + Send,
        read: impl FnOnce(&Story) -> T + Send,
    ) -> Result<T> {
        let Self { sight, moments, .. } = self;
        sight.look_back()?;
        let collector = sight.collector();
        Ok(unsampled(|| {
            let mut cache = SymbolCache::new(DEFAULT_CAPACITY, vec![DEFAULT_DEBUG_DIRS.into()]);
            let circumstances = super::shared::circumstances_of(collector);
            let mut namer = Namer::new(&mut cache, Naming::Allowed);
            let mut story = Story::of(moments, &circumstances, collector, &mut namer);
            story.retain(keep);
            read(&story)
        }))
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
