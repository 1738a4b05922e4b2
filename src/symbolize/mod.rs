//! Addresses to names, within a budget of memory. A miss is data, with its reason.
//!
//! The files that hold the addresses are mapped one after the other. Of the debug information only those units are read
//! that hold one of the addresses, one at a time and in one pass each; then their pages are given back. Nothing is
//! indexed and nothing is kept but the names. What is damaged is passed over: all that is read is taken for input that
//! anybody may have written.

mod cache;
mod debug_file;
mod debug_info;
mod dwarf;
mod elf;
mod functions;
mod lines;
mod meter;
mod names;
mod origins;
mod resolver;
mod symbols;
#[cfg(test)]
mod tests;
mod units;

pub(crate) use cache::{DEFAULT_CAPACITY, Lookup, SymbolCache};
