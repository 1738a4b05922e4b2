//! CPU profiles, by the `pprof` crate.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::places::{Places, Side};
use super::{Namer, Shared};
use crate::collect::NoUnwinding;
use crate::error::{Error, ErrorKind, Result};
use crate::format::pprof;
use crate::policy::check_cpu_room;
use crate::profile::{Address, Location, ReturnAddress, SampleType};
use crate::system::{CpuSampling, HERTZ, loaded_mappings};

/// The two values of every sample, as in Go's CPU profiles.
const SAMPLE_TYPES: [SampleType; 2] =
    [SampleType { name: "samples", unit: "count" }, SampleType { name: "cpu", unit: "nanoseconds" }];

const NANOS_PER_SAMPLE: u64 = 1_000_000_000 / HERTZ as u64;

/// The signal handler and what the kernel returns through. They and all below them are not the program's doing; a
/// viewer that looks names up by itself hides them by this.
const HANDLER: &str = "perf_signal_handler";
const DROP_FRAMES: &str = "(?:.*::)?perf_signal_handler|__restore_rt";

/// The most frames of the handler's own: those below its outermost function.
const HANDLER_DEPTH: usize = 16;

/// How long an unwinding for the heap may take that had begun before it was switched off. They take microseconds.
const LAST_UNWINDING: Duration = Duration::from_millis(20);

/// Whether a CPU profile is being taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A CPU profile that is being taken, until it is dropped.
pub(crate) struct CpuProfile {
    // In the order in which they are dropped: the heap's unwinder runs again when the signals have ended.
    sampling: CpuSampling,
    _heap: NoUnwinding,
    _turn: Turn,
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
    /// Starts sampling. For the renderer's thread.
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
        let heap = shared.collector().without_unwinding()?;
        std::thread::sleep(LAST_UNWINDING);
        Ok(Self { sampling: CpuSampling::start()?, _heap: heap, _turn: turn })
    }

    /// Ends sampling and writes what was seen, as gzipped profile.proto. For the renderer's thread.
    pub(crate) fn finish(self, namer: &mut Namer<'_>, out: impl io::Write) -> Result<()> {
        let duration = self.sampling.elapsed();
        let stacks = self.sampling.stacks();
        // Before names are looked up: that is nothing of the service's.
        drop(self);
        let stacks = stacks?;

        let mappings = loaded_mappings();
        let mut leaves = Places::new(&mappings, &mappings);
        for frame in stacks.iter().flat_map(|stack| stack.frames.iter().take(HANDLER_DEPTH)) {
            leaves.index(Side::Later, frame.call_site());
        }
        leaves.name(namer);

        let write = || {
            let mut places = Places::new(&mappings, &mappings);
            let mut writer = pprof::Writer::new(out, &SAMPLE_TYPES)?;
            let mut indices = Vec::new();
            for stack in &stacks {
                indices.clear();
                let interrupted = interrupted(&stack.frames, &leaves);
                for (index, frame) in stack.frames.iter().enumerate().skip(interrupted.unwrap_or(0)) {
                    // Where it was interrupted there was no call: the address itself, and not the one before it.
                    let exact = Some(index) == interrupted;
                    let address = if exact { Address(frame.0) } else { frame.call_site() };
                    indices.push(places.index(Side::Later, address));
                }
                let nanos = stack.count.saturating_mul(NANOS_PER_SAMPLE as i64);
                writer.sample(&indices, &[stack.count, nanos], 0)?;
            }
            places.name(namer);
            writer.finish(&pprof::Tail {
                time: SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::UNIX_EPOCH),
                duration,
                period_type: SAMPLE_TYPES[1],
                period: NANOS_PER_SAMPLE,
                mappings: &places.mappings,
                locations: &places.locations,
                default_sample_type: "cpu",
                drop_frames: DROP_FRAMES,
                comments: &[
                    format!("heapward {}", env!("CARGO_PKG_VERSION")),
                    "time in libc, libgcc and the vDSO is missing: the pprof crate takes no samples there, to be safe"
                        .to_owned(),
                ],
            })
        };
        write().map_err(|error| Error::io("writing a CPU profile", error))
    }
}

/// The index of the frame that the signal interrupted: the second after its handler's.
fn interrupted(frames: &[ReturnAddress], places: &Places<'_>) -> Option<usize> {
    let is_handler =
        |location: &Location| location.frame.functions().iter().any(|function| function.name.ends_with(HANDLER));
    let handler = frames
        .iter()
        .take(HANDLER_DEPTH)
        .position(|frame| places.get(Side::Later, frame.call_site()).is_some_and(is_handler))?;
    Some(handler + 2).filter(|&index| index < frames.len())
}
