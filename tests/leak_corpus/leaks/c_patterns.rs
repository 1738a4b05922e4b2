//! Patterns that the C library's `regcomp` compiles and that nobody gives to `regfree`: all of it allocated inside of
//! the C library, at many places, for 420 KiB/s in all.

use std::ffi::CString;
use std::mem::MaybeUninit;

use libc::regex_t;

use crate::run::Run;

/// Where it leaks. The C library's file tells the names of few of its functions; the others are an offset in it.
pub const SITES: [&str; 3] = ["regcomp", "re_compile_internal", "libc.so"];

/// What they call, where there are names for it.
pub const UNDER: [&str; 9] =
    ["re_", "init_dfa", "parse_", "create_", "calc_", "register_state", "build_", "duplicate_", "link_nfa"];

const FILTERS_A_TICK: u64 = 3;

pub fn serve(run: &Run) {
    for tick in run.ticks() {
        for filter in 0..FILTERS_A_TICK {
            let good = compile_pattern(&format!("^user-{tick}-(a|b){filter}$"));
            assert!(good.is_some(), "a good pattern is refused");
            assert!(compile_pattern("(a").is_none(), "a bad pattern is taken");
            // The bug: to Rust a pattern is plain data, and what it points to is forgotten.
        }
    }
}

#[inline(never)]
fn compile_pattern(text: &str) -> Option<regex_t> {
    let text = CString::new(text).expect("no zero byte in it");
    let mut pattern = MaybeUninit::uninit();
    // SAFETY: both pointers are good for the call, and the text ends with a zero.
    let error = unsafe { libc::regcomp(pattern.as_mut_ptr(), text.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB) };
    // SAFETY: without an error regcomp filled it in.
    (error == 0).then(|| unsafe { pattern.assume_init() })
}
