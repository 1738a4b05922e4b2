//! Blocks of memory, allocated and freed by hand.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::hint::black_box;
use std::ptr::NonNull;

/// A block of the global allocator. Freed by [`Block::free`] alone: a test says when.
#[derive(Debug)]
#[must_use = "a block that is dropped is leaked"]
pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is owned memory; whoever has it may use it and free it, on any thread.
unsafe impl Send for Block {}

impl Block {
    /// A block of `size` bytes, of an alignment that takes no flags.
    pub fn new(size: usize) -> Self {
        Self::aligned(size, 8)
    }

    /// A block of `size` bytes at a multiple of `align`.
    pub fn aligned(size: usize, align: usize) -> Self {
        let layout = layout(size, align);
        // SAFETY: `layout` is not of size zero.
        Self::of(unsafe { alloc(layout) }, layout)
    }

    /// A block of `size` zeros.
    pub fn zeroed(size: usize) -> Self {
        let layout = layout(size, 8);
        // SAFETY: `layout` is not of size zero.
        Self::of(unsafe { alloc_zeroed(layout) }, layout)
    }

    // black_box: an optimized build may leave out an allocation whose address nobody looks at.
    fn of(start: *mut u8, layout: Layout) -> Self {
        Self { start: NonNull::new(black_box(start)).expect("out of memory"), layout }
    }

    /// Changes the size, here or elsewhere; returns whether the block moved.
    pub fn resize(&mut self, size: usize) -> bool {
        let before = self.start;
        let layout = layout(size, self.layout.align());
        // SAFETY: the block was allocated with `self.layout`, is not freed yet, and `size` is not zero.
        *self = Self::of(unsafe { realloc(self.start.as_ptr(), self.layout, size) }, layout);
        self.start != before
    }

    /// Gives the block back.
    pub fn free(self) {
        // SAFETY: the block was allocated with `self.layout`, and nobody can free it again.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }

    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// What was asked for.
    pub fn requested(&self) -> u64 {
        self.layout.size() as u64
    }

    /// At a multiple of what it is.
    pub fn align(&self) -> usize {
        self.layout.align()
    }

    /// What jemalloc says that it takes.
    pub fn usable(&self) -> u64 {
        // SAFETY: the block is alive.
        unsafe { tikv_jemalloc_sys::malloc_usable_size(self.start.as_ptr().cast()) as u64 }
    }

    /// Whether its ends and its middle are zero.
    pub fn is_zero(&self) -> bool {
        let size = self.layout.size();
        // SAFETY: all three are inside the block, and only asked for when it was zeroed.
        [0, size / 2, size - 1].into_iter().all(|at| unsafe { self.start.as_ptr().add(at).read() } == 0)
    }
}

fn layout(size: usize, align: usize) -> Layout {
    assert_ne!(size, 0, "the allocator may not be asked for nothing");
    Layout::from_size_align(size, align).expect("a size and a power of two")
}
