//! The tests that need no live allocator, in one program.

mod layers;
mod rust_source;
