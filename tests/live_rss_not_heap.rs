//! Memory that is no heap, of each kind that the kernel tells apart.

mod common;
mod common_http;
mod common_rss;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use common_rss::{MIB, Rss};

heapward::install!();

const LEN: usize = 200 * MIB as usize;

/// Mapped memory, with every page touched.
struct Mapping(*mut libc::c_void);

impl Mapping {
    fn new(protection: libc::c_int, flags: libc::c_int, file: Option<&File>) -> Self {
        let descriptor = file.map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: a null hint asks for a new mapping, which aliases nothing.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), LEN, protection, flags, descriptor, 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        for offset in (0..LEN).step_by(4096) {
            // SAFETY: within the mapping, which can be read, and written where `protection` says so.
            unsafe {
                let byte = start.cast::<u8>().add(offset);
                match protection & libc::PROT_WRITE {
                    0 => assert_eq!(byte.read_volatile(), 7),
                    _ => byte.write_volatile(7),
                }
            }
        }
        Self(start)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped above, and nothing points into it.
        unsafe { libc::munmap(self.0, LEN) };
    }
}

#[test]
fn memory_that_is_no_heap_is_told_by_its_kind() {
    common::fail_fast();
    let profiler = common::profiler().start().unwrap();
    let first = Rss::at_a_snapshot(&profiler);
    let check = |mapping: Mapping, part: &str, name: &str| {
        let later = Rss::at_a_snapshot(&profiler);
        let grown = later.growth(&first, part);
        assert!((190 * MIB..230 * MIB).contains(&grown), "{part} {grown}: {later:#?}");
        assert!(later.growth(&first, "/live_heap_bytes") < 20 * MIB, "{later:#?}");
        assert_eq!(later.verdict(), "not heap", "{later:#?}");
        assert!(later.why().contains(name), "{name}: {}", later.why());
        drop(mapping);
    };
    let write = libc::PROT_READ | libc::PROT_WRITE;
    let anonymous = Mapping::new(write, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None);
    check(anonymous, "/not_heap/other_bytes", "MiB other anonymous memory");
    let shared = Mapping::new(write, libc::MAP_SHARED | libc::MAP_ANONYMOUS, None);
    check(shared, "/not_heap/shared_memory_bytes", "MiB shared memory");

    // In the target folder, as a file on a tmpfs counts as shared memory.
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for _ in 0..LEN / MIB as usize {
        file.write_all(&vec![7; MIB as usize]).unwrap();
    }
    let mapped = Mapping::new(libc::PROT_READ, libc::MAP_SHARED, Some(&file));
    check(mapped, "/not_heap/mapped_files_bytes", "MiB pages of mapped files");
    profiler.shutdown();
}
