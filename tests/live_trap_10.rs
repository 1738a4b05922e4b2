//! Trap: jemalloc reads its settings from a symbol whose name depends on how it was built, and ignores the other one
//! in silence. A program that defines the wrong one must be told so, with what to do, and go on.

mod common;

use std::ffi::{CStr, c_char};

use common::{Block, fail_fast};
use heapward::ErrorKind;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[repr(transparent)]
struct Settings(*const c_char);

// SAFETY: it points to a literal, which nothing writes to.
unsafe impl Sync for Settings {}

const SETTINGS: &CStr = c"prof:true,prof_active:false,lg_prof_sample:0";

// The wrong one: with `c-malloc`, jemalloc is built without its prefix, where the target allows that.
#[cfg_attr(all(feature = "c-malloc", target_os = "linux"), unsafe(export_name = "_rjem_malloc_conf"))]
#[cfg_attr(not(all(feature = "c-malloc", target_os = "linux")), unsafe(export_name = "malloc_conf"))]
#[used]
static WRONG_SYMBOL: Settings = Settings(SETTINGS.as_ptr());

#[test]
fn a_wrong_symbol_is_an_error_that_names_the_fix() {
    for variable in ["MALLOC_CONF", "_RJEM_MALLOC_CONF"] {
        assert_eq!(std::env::var_os(variable), None, "{variable} must not be set for this test");
    }
    fail_fast();
    let error = heapward::start().expect_err("the profiler is off");
    assert_eq!(error.kind(), ErrorKind::Allocator);
    let text = error.to_string();
    for part in
        ["opt.prof is false", "`malloc_conf`", "`_rjem_malloc_conf`", "heapward::install!()", "MALLOC_CONF=prof:true"]
    {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }

    // The program goes on, and the error is the same for whoever tries again: nothing was left running.
    let blocks: Vec<Block> = (0..10_000).map(|n| Block::new(n + 1)).collect();
    assert_eq!(heapward::start().expect_err("still off").to_string(), text);
    for block in blocks {
        assert!(block.usable() >= block.requested());
        block.free();
    }
}
