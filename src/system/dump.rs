//! jemalloc's own heap dump, for builds without the hooks: written to memory, never to a disk.
//!
//! A dump holds jemalloc's profiling locks while it writes, and a slow reader on the other end freezes every thread
//! that is sampled meanwhile. A memfd takes a write at the speed of a copy.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::error::{Error, ErrorKind, Result};

/// The text of a dump taken now, in jemalloc's heap_v2 format.
pub(crate) fn dump_heap_v2() -> Result<Vec<u8>> {
    let fd = memfd_create("heapward-dump", MemfdFlags::CLOEXEC)
        .map_err(|errno| Error::io("memfd_create for a heap dump", errno.into()))?;
    let mut file = File::from(fd);
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("digits hold no zero byte");
    // SAFETY: `prof.dump` takes a pointer to a C string, and `path` lives until the call returns.
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.dump\0", path.as_ptr()) }
        .map_err(|error| Error::new(ErrorKind::Allocator, "prof.dump into memory failed").with_source(error))?;
    let mut text = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut text))
        .map_err(|error| Error::io("reading a heap dump back", error))?;
    Ok(text)
}
