//! CPU profiles, by the `pprof` crate.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::places::{Places, Side};
use super::{Namer, Shared};
use crate::collect::UndisturbedUnwinding;
use crate::error::{Error, ErrorKind, Result};
use crate::format::pprof;
use crate::policy::check_cpu_room;
use crate::profile::SampleType;
use crate::system::{CpuSampling, CpuStack, HERTZ, loaded_mappings};

/// The two values of every sample, as in Go's CPU profiles.
const SAMPLE_TYPES: [SampleType; 2] =
    [SampleType { name: "samples", unit: "count" }, SampleType { name: "cpu", unit: "nanoseconds" }];

const NANOS_PER_SAMPLE: u64 = 1_000_000_000 / HERTZ as u64;

/// What a reader must know before believing one.
const REMARKS: [&str; 2] = [
    "time in libc, libgcc and the vDSO is missing: the pprof crate takes no samples there, to be safe",
    "stacks through the same functions are one stack with the addresses of the first that was seen: lines, and \
     functions that were inlined into one, share their time as it came",
];

/// How long an unwinding for the heap may take that had begun before it was shielded. They take microseconds.
const LAST_UNWINDING: Duration = Duration::from_millis(20);

/// Whether a CPU profile is being taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A CPU profile that is being taken, until it is dropped.
pub(crate) struct CpuProfile {
    // In the order in which they are dropped: the heap's unwinder is as before when the signals have ended.
    sampling: CpuSampling,
    _heap: UndisturbedUnwinding,
    _turn: Turn,
}

/// A CPU profile that was taken, without names.
pub(crate) struct CpuProfileTaken {
    stacks: Vec<CpuStack>,
    duration: Duration,
}

/// The right to take one: there is one SIGPROF.
struct Turn;

impl Turn {
    fn take() -> Result<Self> {
        if TAKEN.swap(true, Ordering::Acquire) {
            let message = "a CPU profile is being taken already: ask again when it is done";
            return Err(Error::new(ErrorKind::AlreadyRunning, message));
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

impl CpuProfile {
    /// Starts sampling. For a thread of heapward's own, which also ends it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyRunning`] when one is being taken, by heapward or by the service itself; [`ErrorKind::Busy`]
    /// when the memory limit is too close.
    pub(crate) fn start(shared: &Shared) -> Result<Self> {
        let turn = Turn::take()?;
        // Unreadable only where nothing of `/proc` is, and then there are no readings either.
        let program = std::fs::metadata("/proc/self/exe").map_or(0, |file| file.len());
        check_cpu_room(&shared.last_cgroup(), program)?;
        let heap = shared.collector().shield_unwinding()?;
        std::thread::sleep(LAST_UNWINDING);
        Ok(Self { sampling: CpuSampling::start()?, _heap: heap, _turn: turn })
    }

    /// Ends sampling.
    pub(crate) fn finish(self) -> Result<CpuProfileTaken> {
        let duration = self.sampling.elapsed();
        Ok(CpuProfileTaken { stacks: self.sampling.stacks()?, duration })
    }
}

impl CpuProfileTaken {
    /// Writes it as gzipped profile.proto. For the renderer's thread.
    pub(crate) fn write(&self, namer: &mut Namer<'_>, out: impl io::Write) -> io::Result<()> {
        let mappings = loaded_mappings();
        let mut places = Places::new(&mappings, &mappings);
        let mut writer = pprof::Writer::new(out, &SAMPLE_TYPES)?;
        for stack in &self.stacks {
            let indices: Vec<u32> = stack.frames.iter().map(|address| places.index(Side::Later, *address)).collect();
            writer.sample(&indices, &[stack.count, stack.count.saturating_mul(NANOS_PER_SAMPLE as i64)], 0)?;
        }
        places.name(namer);
        let mut comments = vec![format!("heapward {}", env!("CARGO_PKG_VERSION"))];
        comments.extend(REMARKS.map(str::to_owned));
        comments.extend(places.why_unnamed(namer));
        writer.finish(&pprof::Tail {
            time: SystemTime::now().checked_sub(self.duration).unwrap_or(SystemTime::UNIX_EPOCH),
            duration: self.duration,
            period_type: SAMPLE_TYPES[1],
            period: NANOS_PER_SAMPLE,
            mappings: &places.mappings,
            locations: &places.locations,
            default_sample_type: "cpu",
            drop_frames: "",
            comments: &comments,
        })
    }
}
