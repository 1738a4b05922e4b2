//! Which threads jemalloc samples.

use std::sync::OnceLock;

use tikv_jemalloc_ctl::raw;

/// Whether the calling thread's allocations are sampled from now on.
pub fn set_sampled(sampled: bool) {
    // The number behind the name: found once, so that switching costs next to nothing.
    static THREAD_PROF_ACTIVE: OnceLock<[usize; 3]> = OnceLock::new();
    let mib = THREAD_PROF_ACTIVE.get_or_init(|| {
        let mut mib = [0; 3];
        raw::name_to_mib(b"thread.prof.active\0", &mut mib).expect("jemalloc has a profiler");
        mib
    });
    // SAFETY: `thread.prof.active` is a bool. It fails only where the profiler is off and there is nothing to switch.
    let _ = unsafe { raw::write_mib(mib, sampled) };
}

/// Has `work` sampled, and nothing after it. For tests that set `prof_thread_active_init:false`: then every sample
/// is one of theirs.
pub fn sampled<T>(work: impl FnOnce() -> T) -> T {
    set_sampled(true);
    let result = work();
    set_sampled(false);
    result
}
