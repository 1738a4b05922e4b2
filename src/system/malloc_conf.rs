//! The value of the symbol that jemalloc reads its settings from.

use std::ffi::c_char;

/// A C string for jemalloc: `const char *malloc_conf`.
#[repr(transparent)]
#[derive(Debug)]
pub struct MallocConf(*const c_char);

// SAFETY: it points to a string literal, which nothing ever writes to.
unsafe impl Sync for MallocConf {}

impl MallocConf {
    /// The settings `text`, which must end with a zero byte. Evaluated when the program is compiled.
    pub const fn new(text: &'static str) -> Self {
        assert!(matches!(text.as_bytes().last(), Some(0)), "jemalloc reads on until it finds a zero byte");
        Self(text.as_ptr().cast())
    }
}
