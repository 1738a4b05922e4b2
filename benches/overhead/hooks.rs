//! jemalloc's hooks, where heapward does not set them.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::common::Result;

fn write<T>(name: &[u8], value: T) -> Result<()> {
    // SAFETY: each caller in this file gives a value of the type that jemalloc's prof_hook.h, or its manual, says.
    unsafe { tikv_jemalloc_ctl::raw::write(name, value) }.map_err(|error| error.to_string().into())
}

pub fn activate() -> Result<()> {
    write(b"prof.active\0", true)
}

/// Has jemalloc take stacks for one frame deep.
pub fn one_frame() -> Result<()> {
    let hook: unsafe extern "C" fn(*mut *mut c_void, *mut c_uint, c_uint) = return_one_frame;
    write(b"experimental.hooks.prof_backtrace\0", hook)
}

unsafe extern "C" fn return_one_frame(frames: *mut *mut c_void, depth: *mut c_uint, _room: c_uint) {
    // SAFETY: jemalloc gives room for 128 frames, and a place for their number.
    unsafe {
        *frames = return_one_frame as *mut c_void;
        *depth = 1;
    }
}

/// How deep the last sampled stack was.
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// How deep a stack is that jemalloc takes in `work`, which allocates.
pub fn depth_of(mut work: impl FnMut()) -> Result<usize> {
    let hook: unsafe extern "C" fn(*const c_void, usize, *mut *mut c_void, c_uint, usize) = note_depth;
    write(b"experimental.hooks.prof_sample\0", hook)?;
    activate()?;
    work();
    write(b"prof.active\0", false)?;
    match DEPTH.load(Relaxed) {
        0 => Err("nothing was sampled".into()),
        depth => Ok(depth),
    }
}

unsafe extern "C" fn note_depth(_: *const c_void, _: usize, _: *mut *mut c_void, depth: c_uint, _: usize) {
    DEPTH.store(depth as usize, Relaxed);
}
