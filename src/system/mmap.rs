//! Memory for tables that the allocator's hooks touch: straight from the kernel, never from the allocator.

use std::alloc::Layout;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Types for which memory full of zeros is a valid value.
///
/// # Safety
///
/// The implementor promises exactly that, and that the type needs no `Drop`.
pub(crate) unsafe trait Zeroed: Sync {}

// SAFETY: zero is a valid value of an atomic integer, and it has no Drop.
unsafe impl Zeroed for std::sync::atomic::AtomicU64 {}

/// A fixed slice of zeroed memory. Pages are real only once touched, so a generous bound costs address space alone, of
/// which there is no lack but under RLIMIT_AS or `vm.overcommit_memory=2`.
pub(crate) struct MmapSlice<T: Zeroed> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: the slice owns its memory and hands out shared references only; `Zeroed` asks for `T: Sync`.
unsafe impl<T: Zeroed> Send for MmapSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Zeroed> Sync for MmapSlice<T> {}

impl<T: Zeroed> MmapSlice<T> {
    /// `len` zeroed values.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let bytes = size_of::<T>().checked_mul(len).ok_or(io::ErrorKind::OutOfMemory)?;
        assert!(align_of::<T>() <= 4096, "mmap aligns to pages");
        let start = map(bytes.max(1))?;
        // SAFETY: the range was just mapped by us. Huge pages would make a sparse table resident as a whole; a
        // kernel without them refuses, which is as good.
        let _ = unsafe { madvise(start.as_ptr().cast(), bytes.max(1), Advice::LinuxNoHugepage) };
        Ok(Self { start: start.cast(), len })
    }
}

impl<T: Zeroed> MmapSlice<T> {
    /// Has the kernel clear this memory in every forked child.
    pub(crate) fn wipe_on_fork(&self) -> io::Result<()> {
        let bytes = (size_of::<T>() * self.len).max(1);
        // SAFETY: the range is ours, and zero is a value of T, so a child finds valid values.
        unsafe { madvise(self.start.as_ptr().cast(), bytes, Advice::LinuxWipeOnFork)? };
        Ok(())
    }
}

impl<T: Zeroed> Deref for MmapSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` is valid for `len` values for as long as self lives, page-aligned, and zero is a value of T.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroed> Drop for MmapSlice<T> {
    fn drop(&mut self) {
        unmap(self.start.cast(), (size_of::<T>() * self.len).max(1));
    }
}

/// An allocator for hashbrown's tables: every block is a mapping of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MmapAllocator;

// SAFETY: a block is a fresh private mapping: valid, exclusive, and at the same address until it is deallocated with
// the layout that it was allocated with. The allocator has no state, so clones are interchangeable.
unsafe impl Allocator for MmapAllocator {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.align() > 4096 {
            return Err(AllocError);
        }
        let start = map(layout.size().max(1)).map_err(|_| AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    unsafe fn deallocate(&self, start: NonNull<u8>, layout: Layout) {
        unmap(start, layout.size().max(1));
    }
}

fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a null hint asks for a new mapping, which aliases nothing.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags)? };
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn unmap(start: NonNull<u8>, bytes: usize) {
    // SAFETY: only called with a range that `map` returned and that nothing refers to any more. munmap of such a
    // range can fail only for want of kernel memory; the mapping is then leaked, which is safe.
    let _ = unsafe { munmap(start.as_ptr().cast(), bytes) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_slice_starts_as_zeros_and_keeps_what_is_written() {
        let slice = MmapSlice::<AtomicU64>::new(100_000).unwrap();
        assert!(slice.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        slice[99_999].store(7, Ordering::Relaxed);
        assert_eq!(slice[99_999].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_size_that_overflows_is_an_error() {
        assert!(MmapSlice::<AtomicU64>::new(usize::MAX / 4).is_err());
    }

    #[test]
    fn tables_grow_in_mapped_memory() {
        let mut table = hashbrown::HashTable::new_in(MmapAllocator);
        for n in 0..10_000u64 {
            table.insert_unique(n, n, |n| *n);
        }
        assert_eq!(table.find(77, |n| *n == 77), Some(&77));
    }
}
