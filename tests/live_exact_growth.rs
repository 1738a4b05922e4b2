//! The exact count of `examples/label_cardinality`, jemalloc's `thread.allocated` less `thread.deallocated`, held against an
//! allocator that counts for itself: they must be equal to the byte, sampled or not, for each library and kind.

mod common;

#[path = "../examples/label_cardinality/cell.rs"]
mod cell;
#[path = "../examples/label_cardinality/exact.rs"]
mod exact;
#[path = "../examples/label_cardinality/labels.rs"]
mod labels;
#[path = "../examples/label_cardinality/library/mod.rs"]
mod library;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell as ThreadCell;

use heapward::__private::MallocConf;
use tikv_jemallocator::Jemalloc;

use cell::{Cell, Library};

/// What this thread holds, as asked for and as set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    requested: i64,
    usable: i64,
}

thread_local! {
    static HELD: ThreadCell<Held> = const { ThreadCell::new(Held { requested: 0, usable: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// About one sample in 256 bytes, so that many objects are sampled and many are not.
const CONF: MallocConf = MallocConf::new("prof:true,prof_active:false,lg_prof_sample:8\0");
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: MallocConf = CONF;
#[unsafe(export_name = "_rjem_malloc_conf")]
static RJEM_MALLOC_CONF: MallocConf = CONF;

impl Held {
    fn add(pointer: *mut u8, layout: Layout, sign: i64) {
        if pointer.is_null() {
            return;
        }
        // SAFETY: jemalloc handed it out, and it is not freed yet.
        let usable = unsafe { tikv_jemallocator::usable_size(pointer) };
        HELD.with(|held| {
            let Self { requested, usable: before } = held.get();
            let requested = requested + sign * layout.size() as i64;
            held.set(Self { requested, usable: before + sign * usable as i64 });
        });
    }

    fn since(self, before: Self) -> Self {
        Self { requested: self.requested - before.requested, usable: self.usable - before.usable }
    }
}

// SAFETY: all calls go to jemalloc as they are; what is counted takes no memory, and its thread local needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let pointer = unsafe { Jemalloc.alloc(layout) };
        Held::add(pointer, layout, 1);
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let pointer = unsafe { Jemalloc.alloc_zeroed(layout) };
        Held::add(pointer, layout, 1);
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Held::add(pointer, layout, -1);
        // SAFETY: as the caller promises.
        unsafe { Jemalloc.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Held::add(pointer, layout, -1);
        // SAFETY: as the caller promises.
        let moved = unsafe { Jemalloc.realloc(pointer, layout, size) };
        // Where there is no room for it, the old one is still there.
        let (now, size) = if moved.is_null() { (pointer, layout.size()) } else { (moved, size) };
        // SAFETY: the caller promises that such a size has such an alignment.
        Held::add(now, unsafe { Layout::from_size_align_unchecked(size, layout.align()) }, 1);
        moved
    }
}

#[test]
fn jemallocs_count_of_a_thread_is_that_of_an_allocator_that_counts() {
    common::fail_fast();
    let profiler = common::profiler().start().unwrap();
    let mut samples = common::figures(&profiler).samples;
    for library in Library::ALL {
        for &kind in library.kinds() {
            let observations = if kind.observes() { 100 } else { 1 };
            let cell = Cell { library, kind, label_sets: 200, observations };
            // The first time, the C library allocates for the destructors of thread locals, past this allocator.
            drop(library::fill(cell).unwrap());
            let before = (exact::held().unwrap(), HELD.get());
            let metrics = library::fill(cell).unwrap();
            let after = (exact::held().unwrap(), HELD.get());
            let counted = after.1.since(before.1);
            println!("{cell}: {} usable, {} requested", counted.usable, counted.requested);
            assert_eq!(after.0 - before.0, counted.usable, "{cell}: {counted:?}");
            assert!(counted.usable > counted.requested && counted.requested > 20_000, "{cell}: {counted:?}");

            drop(metrics);
            let left = HELD.get().since(before.1);
            assert_eq!(exact::held().unwrap() - before.0, left.usable, "{cell}: {left:?}");
            let now = common::figures(&profiler).samples;
            assert!(now > samples + 50, "{cell}: {} samples are too few to try anything", now - samples);
            samples = now;
        }
    }
    profiler.shutdown();
}
