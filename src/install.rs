//! The macro that puts jemalloc in place, with its profiler on and asleep.

/// Makes jemalloc the program's allocator and switches its profiler on, asleep until [`start`](crate::start) wakes it.
///
/// Goes at the top level of the binary's main file, once. More of jemalloc's settings can be given, and the last of
/// one name counts: `heapward::install!("lg_prof_sample:16")` takes a sample every 64 KiB instead of 512.
///
/// ```
/// heapward::install!();
///
/// fn main() {
///     let x = vec![0u8; 100];
///     assert_eq!(x.len(), 100);
/// }
/// ```
///
/// jemalloc reads its settings from a symbol before `main`, and ignores in silence one that it does not know: it is
/// called `malloc_conf`, and `_rjem_malloc_conf` where jemalloc was built with its prefix. Which it is depends on the
/// target and on every crate in the tree that enables a feature of tikv-jemallocator, so both are defined; the one
/// that nobody reads costs eight bytes. [`start`](crate::start) checks that it worked.
#[macro_export]
macro_rules! install {
    () => {
        $crate::install!(@define "prof:true,prof_active:false,lg_prof_sample:19\0");
    };
    ($more:literal) => {
        // jemalloc complains of a trailing comma, so there is one only with something after it.
        $crate::install!(@define concat!("prof:true,prof_active:false,lg_prof_sample:19,", $more, "\0"));
    };
    (@define $conf:expr) => {
        #[global_allocator]
        static HEAPWARD_ALLOCATOR: $crate::__private::Jemalloc = $crate::__private::Jemalloc;

        #[unsafe(export_name = "malloc_conf")]
        static HEAPWARD_MALLOC_CONF: $crate::__private::MallocConf = $crate::__private::MallocConf::new($conf);

        #[unsafe(export_name = "_rjem_malloc_conf")]
        static HEAPWARD_RJEM_MALLOC_CONF: $crate::__private::MallocConf = $crate::__private::MallocConf::new($conf);
    };
}

/// What [`install!`](crate::install!) needs to name; not for use by hand.
pub mod __private {
    pub use crate::system::MallocConf;
    pub use tikv_jemallocator::Jemalloc;
}
