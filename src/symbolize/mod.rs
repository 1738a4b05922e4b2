//! Addresses to names. A miss is data, with its reason.

mod cache;
mod resolver;

pub(crate) use cache::{DEFAULT_CAPACITY, SymbolCache};
