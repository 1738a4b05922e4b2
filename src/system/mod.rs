//! The operating system and the allocator. `unsafe` is allowed here and in `collect/`, nowhere else.

mod allocator;
mod cgroup;
mod cgroup_events;
mod clock;
#[cfg(feature = "cpu")]
mod cpu;
mod dump;
mod end_of_run;
mod errno;
mod folder;
mod fork;
mod held_file;
mod loaded_code;
mod machine;
mod malloc_conf;
mod mapped_file;
mod meminfo;
mod mmap;
mod modules;
mod pressure;
mod process_memory;
mod processes;
#[cfg(feature = "cpu")]
mod sigprof;
mod stacks;

#[cfg(feature = "cpu")]
pub(crate) use allocator::BacktraceHook;
pub(crate) use allocator::{
    AllocatorStats, Profiling, ProfilingOptions, is_this_thread_sampled, purge_decayed, thread_allocated,
    unsample_this_thread,
};
pub(crate) use cgroup::CgroupReader;
pub(crate) use cgroup_events::CgroupEventsReader;
pub(crate) use clock::{CoarseClock, process_cpu_time};
#[cfg(feature = "cpu")]
pub(crate) use cpu::{CpuSampling, CpuStack, HERTZ};
pub(crate) use dump::dump_heap_v2;
pub(crate) use end_of_run::{OomCounter, boot_id, kills_by_kernel, since_boot};
pub(crate) use errno::keep_errno;
pub(crate) use folder::{Folder, FolderFile};
pub(crate) use fork::{ForkMark, close_in_child};
pub(crate) use loaded_code::{Copier, Linker, LoadedCode, loaded_bytes, loaded_code};
pub(crate) use machine::machine_name;
pub use malloc_conf::MallocConf;
pub(crate) use mapped_file::MappedFile;
pub(crate) use meminfo::SystemMemoryReader;
pub(crate) use mmap::{MmapAllocator, MmapSlice, Zeroed};
pub(crate) use modules::{loaded_mappings, modules_generation};
pub(crate) use pressure::PressureReader;
pub(crate) use process_memory::ProcessMemoryReader;
pub(crate) use processes::{LargestProcesses, WalkLimits, largest_processes};
#[cfg(feature = "cpu")]
pub(crate) use sigprof::without_sigprof;
pub(crate) use stacks::{is_readable, thread_pointer, top_of_main_stack};
