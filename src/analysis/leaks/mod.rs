//! Which sites grow without bound.

mod find;
mod functions;
mod suspect;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use find::{History, find};
pub(crate) use suspect::{Leaks, LetGo, Suspect};
