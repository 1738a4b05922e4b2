//! jemalloc's settings, switches and figures.

use std::ffi::c_void;

use tikv_jemalloc_ctl::{epoch, epoch_mib, raw, stats};

use crate::error::{Error, ErrorKind, Result};
use crate::profile::{AllocatorMemory, SampleInterval};

/// What jemalloc calls on a sampled allocation: pointer, requested size, return addresses (leaf first) with their
/// number, usable size. Source: `prof_sample_hook_t` in jemalloc's prof_hook.h.
pub(crate) type SampleHook = unsafe extern "C" fn(*const c_void, usize, *mut *mut c_void, std::ffi::c_uint, usize);

/// What jemalloc calls before a sampled allocation is freed: pointer, usable size.
pub(crate) type SampleFreeHook = unsafe extern "C" fn(*const c_void, usize);

/// What jemalloc asks for the stack of a sampled allocation: return addresses, leaf first, their number, room for them.
/// Source: `prof_backtrace_hook_t` in jemalloc's prof_hook.h.
pub(crate) type BacktraceHook = unsafe extern "C" fn(*mut *mut c_void, *mut std::ffi::c_uint, std::ffi::c_uint);

/// How jemalloc's profiler was set up when the process started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProfilingOptions {
    /// Mean bytes between samples.
    pub(crate) interval: SampleInterval,
    /// Whether allocations are being sampled already.
    pub(crate) active: bool,
    /// Whether new threads are sampled without asking for it.
    pub(crate) all_threads: bool,
    /// Whether jemalloc keeps a record of the last allocations (`opt.prof_recent_alloc_max`).
    pub(crate) recent: bool,
}

impl ProfilingOptions {
    /// Whether somebody may read jemalloc's stacks: who had it sample before heapward did, and its record of allocations.
    pub(crate) fn reads_stacks(&self) -> bool {
        self.active || self.recent
    }
}

/// The switches of jemalloc's profiler, of which there is one a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profiling;

impl Profiling {
    /// Reads how the profiler is set up, or says what to change so that it can run.
    pub(crate) fn probe() -> Result<ProfilingOptions> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Allocator, message));
        if !read::<bool>(b"config.prof\0").unwrap_or(false) {
            return refuse(
                "this jemalloc was built without its profiler: enable the feature `profiling` of tikv-jemallocator"
                    .to_owned(),
            );
        }
        if !serves_this_program() {
            return refuse(
                "jemalloc is linked but does not serve this program's allocations: put `heapward::install!();` at the \
                 top level of the binary's main file"
                    .to_owned(),
            );
        }
        if !read::<bool>(b"opt.prof\0").unwrap_or(false) {
            return refuse(profiling_is_off());
        }
        let Some(interval) = Self::interval() else {
            return refuse("jemalloc's prof.lg_sample cannot be read or is above 62".to_owned());
        };
        Ok(ProfilingOptions {
            interval,
            active: Self::is_active(),
            all_threads: read::<bool>(b"prof.thread_active_init\0").unwrap_or(true),
            recent: read::<isize>(b"opt.prof_recent_alloc_max\0").is_ok_and(|most| most != 0),
        })
    }

    /// The sample interval that is in force.
    pub(crate) fn interval() -> Option<SampleInterval> {
        SampleInterval::from_lg(read::<usize>(b"prof.lg_sample\0").ok()? as u64)
    }

    /// Whether this jemalloc has the hooks.
    pub(crate) fn has_hooks() -> bool {
        // Reading a hook that is not set gives null, which a function pointer may not be, hence the raw pointer.
        read::<*mut c_void>(b"experimental.hooks.prof_sample\0").is_ok()
            && read::<*mut c_void>(b"experimental.hooks.prof_sample_free\0").is_ok()
    }

    /// Sets both hooks. They stay for the life of the process: another thread may be inside of one at any time.
    pub(crate) fn install_hooks(sample: SampleHook, free: SampleFreeHook) -> Result<()> {
        let refuse = |error| Error::new(ErrorKind::Allocator, "installing jemalloc's hooks").with_source(error);
        // The free hook first: a sample that is freed at once must not be missed.
        // SAFETY: the types are those of jemalloc's prof_hook.h, and the functions live as long as the program.
        unsafe {
            raw::write(b"experimental.hooks.prof_sample_free\0", free).map_err(refuse)?;
            raw::write(b"experimental.hooks.prof_sample\0", sample).map_err(refuse)
        }
    }

    /// The hook that is asked for stacks.
    #[cfg(feature = "cpu")]
    pub(crate) fn backtrace_hook() -> Result<BacktraceHook> {
        // SAFETY: the type is that of jemalloc's prof_hook.h, and jemalloc has such a hook at all times.
        unsafe { raw::read(b"experimental.hooks.prof_backtrace\0") }
            .map_err(|error| Error::new(ErrorKind::Allocator, "asking for jemalloc's unwinder").with_source(error))
    }

    /// Whether this jemalloc can be asked to use another unwinder.
    pub(crate) fn has_backtrace_hook() -> bool {
        read::<*mut c_void>(b"experimental.hooks.prof_backtrace\0").is_ok()
    }

    /// Has `hook` asked for stacks from now on.
    pub(crate) fn set_backtrace_hook(hook: BacktraceHook) -> Result<()> {
        // SAFETY: the type is that of jemalloc's prof_hook.h, and the function lives as long as the program.
        unsafe { raw::write(b"experimental.hooks.prof_backtrace\0", hook) }
            .map_err(|error| Error::new(ErrorKind::Allocator, "replacing jemalloc's unwinder").with_source(error))
    }

    /// Starts or pauses sampling, in all threads.
    pub(crate) fn set_active(active: bool) -> Result<()> {
        // SAFETY: `prof.active` is a bool.
        unsafe { raw::write(b"prof.active\0", active) }
            .map_err(|error| Error::new(ErrorKind::Allocator, "switching jemalloc's sampling").with_source(error))
    }

    /// Whether allocations are being sampled.
    pub(crate) fn is_active() -> bool {
        read::<bool>(b"prof.active\0").unwrap_or(false)
    }
}

/// From here on no allocation of the calling thread is sampled: the profiler does not profile itself, and never
/// enters a hook while it holds a lock that the hook takes.
pub(crate) fn unsample_this_thread() {
    // SAFETY: `thread.prof.active` is a bool. It fails only where there is no profiler to be sampled by.
    let _ = unsafe { raw::write(b"thread.prof.active\0", false) };
}

/// Whether allocations of the calling thread are sampled while sampling is active.
pub(crate) fn is_this_thread_sampled() -> bool {
    read::<bool>(b"thread.prof.active\0").unwrap_or(true)
}

/// Bytes that the calling thread ever allocated; `None` where jemalloc was built without statistics.
pub(crate) fn thread_allocated() -> Option<u64> {
    read::<u64>(b"thread.allocated\0").ok()
}

/// Gives pages back to the kernel that have been unused for as long as jemalloc lets them be.
pub(crate) fn purge_decayed() -> Result<()> {
    // Every arena: 4096 is MALLCTL_ARENAS_ALL.
    const NAME: &std::ffi::CStr = c"arena.4096.decay";
    // SAFETY: the name is a C string, and `arena.<i>.decay` takes and gives nothing.
    let refused = unsafe {
        tikv_jemalloc_sys::mallctl(NAME.as_ptr(), std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut(), 0)
    };
    match refused {
        0 => Ok(()),
        code => Err(Error::new(ErrorKind::Allocator, "giving unused pages back (arena.4096.decay)")
            .with_source(std::io::Error::from_raw_os_error(code))),
    }
}

fn read<T: Copy>(name: &[u8]) -> tikv_jemalloc_ctl::Result<T> {
    // SAFETY: every caller in this file names the type that jemalloc's manual (or ctl.c, for the hooks) gives.
    unsafe { raw::read(name) }
}

/// Whether an allocation of this thread shows in jemalloc's count of it.
fn serves_this_program() -> bool {
    let Some(before) = thread_allocated() else {
        // Built without statistics: cannot be told, so not refused.
        return true;
    };
    let probe = std::hint::black_box(vec![0u8; 4096]);
    let after = thread_allocated();
    drop(probe);
    after.is_some_and(|after| after.wrapping_sub(before) >= 4096)
}

fn profiling_is_off() -> String {
    // SAFETY: jemalloc reads this symbol once, at its start, and nothing writes to it.
    let found = unsafe { tikv_jemalloc_sys::malloc_conf }.map(|conf| {
        // SAFETY: whoever defines `malloc_conf` gives jemalloc a C string that lives for ever.
        unsafe { std::ffi::CStr::from_ptr(conf) }.to_string_lossy().into_owned()
    });
    let symbol = match found {
        None => "the symbol that this jemalloc reads its settings from is not defined (`malloc_conf`, or \
                 `_rjem_malloc_conf` in a prefixed build; the wrong one of the two is ignored in silence)"
            .to_owned(),
        Some(conf) => format!("its `malloc_conf` symbol says \"{conf}\""),
    };
    let variable = ["MALLOC_CONF", "_RJEM_MALLOC_CONF"]
        .into_iter()
        .find_map(|name| Some(format!(", and {name} is \"{}\"", std::env::var(name).ok()?)))
        .unwrap_or_default();
    format!(
        "jemalloc's profiler is off (opt.prof is false): {symbol}{variable}. Put `heapward::install!();` at the top level \
         of the binary's main file, or start the service with MALLOC_CONF=prof:true,prof_active:false (prefixed builds: \
         _RJEM_MALLOC_CONF)"
    )
}

/// Reads jemalloc's figures.
pub(crate) struct AllocatorStats {
    epoch: epoch_mib,
    allocated: stats::allocated_mib,
    active: stats::active_mib,
    resident: stats::resident_mib,
    mapped: stats::mapped_mib,
    retained: stats::retained_mib,
    metadata: stats::metadata_mib,
    /// Bytes in one of the pages that `dirty` and `muzzy` count: jemalloc's, which need not be the kernel's.
    page_size: u64,
    metadata_index: Option<[usize; 2]>,
    dirty: Option<ArenasMib>,
    muzzy: Option<ArenasMib>,
    thread_caches: Option<ArenasMib>,
}

/// The number behind a name `stats.arenas.4096.…`: a sum over all arenas, as 4096 is MALLCTL_ARENAS_ALL.
type ArenasMib = [usize; 4];

/// The number behind a name of `N` parts; `None` where this jemalloc has no such name.
fn find_mib<const N: usize>(name: &[u8]) -> Option<[usize; N]> {
    let mut mib = [0; N];
    raw::name_to_mib(name, &mut mib).ok().map(|()| mib)
}

fn read_mib<const N: usize>(mib: &Option<[usize; N]>) -> Option<u64> {
    // SAFETY: each of the names that `AllocatorStats::open` looks up so is a size_t.
    mib.as_ref().and_then(|mib| unsafe { raw::read_mib::<usize>(mib) }.ok()).map(|value| value as u64)
}

impl AllocatorStats {
    /// Looks the names up once.
    pub(crate) fn open() -> Result<Self> {
        let open = || -> tikv_jemalloc_ctl::Result<Self> {
            Ok(Self {
                epoch: epoch::mib()?,
                allocated: stats::allocated::mib()?,
                active: stats::active::mib()?,
                resident: stats::resident::mib()?,
                mapped: stats::mapped::mib()?,
                retained: stats::retained::mib()?,
                metadata: stats::metadata::mib()?,
                page_size: read::<usize>(b"arenas.page\0")? as u64,
                metadata_index: find_mib(b"stats.metadata_rtree\0"),
                dirty: find_mib(b"stats.arenas.4096.pdirty\0"),
                muzzy: find_mib(b"stats.arenas.4096.pmuzzy\0"),
                thread_caches: find_mib(b"stats.arenas.4096.tcache_bytes\0"),
            })
        };
        open().map_err(refuse_stats)
    }

    /// The figures now. jemalloc adds its arenas up for this, so it is not for every moment.
    pub(crate) fn read(&self) -> Result<AllocatorMemory> {
        let read = || -> tikv_jemalloc_ctl::Result<AllocatorMemory> {
            self.epoch.advance()?;
            let bytes = |pages: u64| pages.saturating_mul(self.page_size);
            Ok(AllocatorMemory {
                allocated: self.allocated.read()? as u64,
                active: self.active.read()? as u64,
                resident: self.resident.read()? as u64,
                mapped: self.mapped.read()? as u64,
                retained: self.retained.read()? as u64,
                metadata: self.metadata.read()? as u64,
                metadata_index: read_mib(&self.metadata_index),
                dirty: read_mib(&self.dirty).map(bytes),
                muzzy: read_mib(&self.muzzy).map(bytes),
                thread_caches: read_mib(&self.thread_caches),
            })
        };
        read().map_err(refuse_stats)
    }
}

fn refuse_stats(error: tikv_jemalloc_ctl::Error) -> Error {
    Error::new(ErrorKind::Allocator, "jemalloc's figures").with_source(error)
}
