//! Stacks that are not what they should be, each sampled: hand-written assembly, frame pointers and unwind tables that
//! lie, other stacks, small stacks. A walk ends there, with the frames that it has, and nothing crashes.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{fail_fast, memory, profiler, set_sampled, step};
use heapward::Profiler;

heapward::install!("lg_prof_sample:0,prof_thread_active_init:false");

/// What the assembly calls.
type Callback = extern "C" fn(*mut c_void);

unsafe extern "C" {
    /// Has no unwind tables.
    fn edge_without_tables(callback: Callback, argument: *mut c_void, frame_pointer: u64);
    /// Has tables that believe in its frame pointer.
    fn edge_with_frame_pointer(callback: Callback, argument: *mut c_void, frame_pointer: u64);
    /// Where the call of `edge_with_frame_pointer` returns to.
    fn edge_with_frame_pointer_return();
    /// Has tables that say that its frame is of 65,520 bytes.
    fn edge_with_far_caller(callback: Callback, argument: *mut c_void);
    /// Ends with a call, which returns into the next function: other tables are right there.
    fn edge_last_call(callback: Callback, argument: *mut c_void);
    /// Calls on another stack, which ends at `top`.
    fn edge_on_stack(callback: Callback, argument: *mut c_void, top: u64);
    /// Tables that say that the caller of the coroutine is nobody.
    fn edge_coroutine(callback: Callback, argument: *mut c_void, top: u64);
}

std::arch::global_asm!(
    ".globl edge_without_tables",
    "edge_without_tables:",
    "push rbp",
    "mov rbp, rdx",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "pop rbp",
    "ret",
    ".globl edge_with_frame_pointer",
    ".globl edge_with_frame_pointer_return",
    "edge_with_frame_pointer:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rdx",
    ".cfi_def_cfa rbp, 16",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "edge_with_frame_pointer_return:",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".globl edge_with_far_caller",
    "edge_with_far_caller:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 65520",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "pop rbp",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_endproc",
    ".globl edge_last_call",
    "edge_last_call:",
    ".cfi_startproc",
    "push rbp",
    "mov rbp, rsp",
    "sub rsp, 32",
    ".cfi_def_cfa_offset 48",
    ".cfi_offset rbp, -16",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    ".cfi_endproc",
    "edge_next:",
    ".cfi_startproc",
    "add rsp, 32",
    "pop rbp",
    "ret",
    ".cfi_endproc",
    ".globl edge_on_stack",
    "edge_on_stack:",
    "push rbp",
    "mov rbp, rsp",
    "mov rsp, rdx",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "mov rsp, rbp",
    "pop rbp",
    "ret",
    ".globl edge_coroutine",
    "edge_coroutine:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    "push rbp",
    "mov rbp, rsp",
    "mov rsp, rdx",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "mov rsp, rbp",
    "pop rbp",
    "ret",
    ".cfi_endproc",
);

#[test]
fn a_walk_ends_where_the_stack_is_not_what_it_should_be() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let name = memory(&profiler)["unwinder"]["name"].clone();
    println!("in use: {name}");
    assert!(name != "jemalloc" || std::env::var_os("HEAPWARD_UNWINDER").is_some(), "nothing would be tried");
    if name != "jemalloc" {
        // libgcc's crashes or runs in circles on some of these, so they are not compared with it.
        frame_pointers_that_lie(&profiler);
        a_caller_beyond_the_end_of_a_stack(&profiler);
    }
    profiler.compare_unwinders().unwrap();
    assembly_without_tables(&profiler);
    a_call_at_the_end_of_a_function(&profiler);
    coroutines(&profiler);
    a_signal_on_its_own_stack(&profiler);
    the_smallest_of_stacks(&profiler);
    code_of_nobody(&profiler);
    let compared = profiler.compared_unwinders();
    assert_eq!(compared.equal, compared.walks, "{compared:x?}");
    assert!(name == "jemalloc" || compared.walks >= 30, "{compared:?}");
    profiler.shutdown();
}

/// The block that [`allocate`] left behind.
static BLOCK: AtomicU64 = AtomicU64::new(0);

/// Allocates one block, sampled.
extern "C" fn allocate(_argument: *mut c_void) {
    set_sampled(true);
    let block = black_box(Box::new([0u8; 100]));
    set_sampled(false);
    BLOCK.store(Box::into_raw(block) as u64, Ordering::Relaxed);
}

/// How many frames the stack of the block has, which is freed.
fn depth(profiler: &Profiler) -> usize {
    let block = BLOCK.swap(0, Ordering::Relaxed);
    let samples = profiler.live_samples();
    let depth = samples.iter().find(|sample| sample.address == block).expect("sampled").depth;
    // SAFETY: `allocate` made it of a box of that type, and nobody else has it.
    drop(unsafe { Box::from_raw(block as *mut [u8; 100]) });
    depth
}

/// Of our own unwinder.
fn truncated(profiler: &Profiler) -> u64 {
    memory(profiler)["unwinder"]["truncated_stacks"].as_u64().expect("an unwinder of our own")
}

#[track_caller]
fn check_truncated(profiler: &Profiler, work: impl FnOnce()) {
    let before = truncated(profiler);
    work();
    assert!((2..20).contains(&depth(profiler)), "the frames up to there");
    assert_eq!(truncated(profiler) - before, 1);
}

fn frame_pointers_that_lie(profiler: &Profiler) {
    step("frame pointers that lie");
    // One that leads to itself: `itself` is frame pointer and return address.
    let mut itself = [0u64; 2];
    itself[1] = edge_with_frame_pointer_return as *const () as u64;
    let at = itself.as_ptr() as u64;
    itself[0] = at;
    black_box(&itself);
    for frame_pointer in
        [0, 1, 8, at, at + 1, at - (1 << 20), at + (1 << 30), u64::MAX, u64::MAX - 7, u64::MAX - 15, 1 << 63]
    {
        // SAFETY: the function saves the frame pointer and restores it.
        let call = || unsafe { edge_with_frame_pointer(allocate, std::ptr::null_mut(), frame_pointer) };
        check_truncated(profiler, call);
    }
}

/// A stack of some pages, with nothing that can be read around it, that goes when it is dropped.
struct OtherStack {
    start: u64,
}

impl OtherStack {
    /// jemalloc takes 30 KiB of a stack where it is built unoptimised.
    const PAGES: usize = if cfg!(debug_assertions) { 64 } else { 8 };
    const PAGE: usize = 4096;

    fn new() -> Self {
        let (private, anywhere) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, std::ptr::null_mut());
        let bytes = (Self::PAGES + 2) * Self::PAGE;
        // SAFETY: a new mapping, which aliases nothing.
        let start = unsafe { libc::mmap(anywhere, bytes, libc::PROT_NONE, private, -1, 0) } as u64;
        let inside = (start as usize + Self::PAGE) as *mut c_void;
        // SAFETY: a part of it.
        let result = unsafe { libc::mprotect(inside, Self::PAGES * Self::PAGE, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(result, 0);
        Self { start }
    }

    fn top(&self) -> u64 {
        self.start + ((1 + Self::PAGES) * Self::PAGE) as u64
    }
}

impl Drop for OtherStack {
    fn drop(&mut self) {
        // SAFETY: nothing runs on it any more.
        unsafe { libc::munmap(self.start as *mut c_void, (Self::PAGES + 2) * Self::PAGE) };
    }
}

fn a_caller_beyond_the_end_of_a_stack(profiler: &Profiler) {
    step("a caller beyond the end of a stack");
    extern "C" fn far(argument: *mut c_void) {
        // SAFETY: the function calls `allocate` and returns.
        unsafe { edge_with_far_caller(allocate, argument) };
        black_box(());
    }
    for _ in 0..3 {
        let stack = OtherStack::new();
        // SAFETY: the stack is of the size that `far` needs, and nobody else uses it.
        check_truncated(profiler, || unsafe { edge_on_stack(far, std::ptr::null_mut(), stack.top()) });
    }
}

fn assembly_without_tables(profiler: &Profiler) {
    step("assembly without tables");
    let local = [0u64; 2];
    let here = local.as_ptr() as u64;
    for frame_pointer in [0, 1, 8, here, here + 1, 1 << 63, u64::MAX] {
        // SAFETY: the function saves the frame pointer and restores it.
        unsafe { edge_without_tables(allocate, std::ptr::null_mut(), frame_pointer) };
        assert!((2..20).contains(&depth(profiler)));
    }
}

fn a_call_at_the_end_of_a_function(profiler: &Profiler) {
    step("a call at the end of a function");
    // SAFETY: the function calls `allocate` and returns.
    unsafe { edge_last_call(allocate, std::ptr::null_mut()) };
    assert!(depth(profiler) > 10, "up to the thread's root");
}

fn coroutines(profiler: &Profiler) {
    step("coroutines");
    extern "C" fn deeper(argument: *mut c_void) {
        let levels = argument as u64;
        if black_box(levels) == 0 {
            allocate(argument);
        } else {
            black_box([levels; 64]);
            deeper((levels - 1) as *mut c_void);
        }
        black_box(());
    }
    let mut depths = Vec::new();
    for round in 0..10u64 {
        let stack = OtherStack::new();
        let levels = (round % 5) as *mut c_void;
        // SAFETY: the stack is of the size that `deeper` needs, and nobody else uses it.
        unsafe { edge_coroutine(deeper, levels, stack.top()) };
        depths.push(depth(profiler));
        // SAFETY: as above.
        unsafe { edge_on_stack(deeper, levels, stack.top()) };
        assert_eq!(depth(profiler), depths[round as usize]);
    }
    assert!(depths.windows(2).take(4).all(|pair| pair[1] == pair[0] + 1), "{depths:?}: down to the coroutine's end");
}

fn a_signal_on_its_own_stack(profiler: &Profiler) {
    step("a signal on its own stack");
    extern "C" fn handle(_signal: c_int) {
        allocate(std::ptr::null_mut());
        black_box(());
    }
    let stack = OtherStack::new();
    let bytes = OtherStack::PAGES * OtherStack::PAGE;
    let start = (stack.top() - bytes as u64) as *mut c_void;
    let own = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: bytes };
    let mut before = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: the stack lives until the former one is put back.
    assert_eq!(unsafe { libc::sigaltstack(&raw const own, &raw mut before) }, 0);
    // SAFETY: all zero is a value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the handler allocates, which is right only because this thread raises the signal itself, outside of the allocator.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) }, 0);
    for _ in 0..3 {
        // SAFETY: there is a handler.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert!(depth(profiler) > 5, "the handler, the signal's frame and what was interrupted");
    }
    // SAFETY: the former stack.
    assert_eq!(unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) }, 0);
}

fn the_smallest_of_stacks(profiler: &Profiler) {
    step("the smallest of stacks");
    extern "C" fn run(_argument: *mut c_void) -> *mut c_void {
        allocate(std::ptr::null_mut());
        std::ptr::null_mut()
    }
    let bytes = if cfg!(debug_assertions) { OtherStack::PAGES * OtherStack::PAGE } else { libc::PTHREAD_STACK_MIN };
    for _ in 0..3 {
        // SAFETY: all zero is a value of it, and it is initialised next.
        let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
        let mut thread = 0;
        // SAFETY: places of the right types; the thread is joined.
        unsafe {
            assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
            assert_eq!(libc::pthread_attr_setstacksize(&raw mut attributes, bytes), 0);
            let started = libc::pthread_create(&raw mut thread, &raw const attributes, run, std::ptr::null_mut());
            assert_eq!(started, 0);
            assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
            libc::pthread_attr_destroy(&raw mut attributes);
        }
        assert!(depth(profiler) >= 4);
    }
}

/// As a compiler makes that runs inside of the program.
fn code_of_nobody(profiler: &Profiler) {
    step("code of nobody's");
    // push rbp; mov rbp, rsp; mov rax, rdi; mov rdi, rsi; call rax; pop rbp; ret
    const CODE: [u8; 15] = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5d, 0xc3, 0xcc];
    let (private, anywhere) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, std::ptr::null_mut());
    // SAFETY: a new mapping, which aliases nothing.
    let page = unsafe { libc::mmap(anywhere, 4096, libc::PROT_READ | libc::PROT_WRITE, private, -1, 0) };
    // SAFETY: it is large enough.
    unsafe { page.cast::<[u8; 15]>().write(CODE) };
    // SAFETY: our page.
    assert_eq!(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) }, 0);
    // SAFETY: the code above is such a function.
    let call: extern "C" fn(Callback, *mut c_void) = unsafe { std::mem::transmute(page) };
    for _ in 0..2 {
        call(allocate, std::ptr::null_mut());
        assert!((2..20).contains(&depth(profiler)));
    }
}
