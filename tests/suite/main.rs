//! The tests that need no live allocator, in one program.

mod layers;
mod reading;
mod rust_source;
