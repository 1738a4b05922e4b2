//! Whether what a site holds grows without bound: the judge, its evidence, and the words for it.
//!
//! A trend alone accuses nobody. Four facts have to come together, all measured on what has grown *old* (older than
//! the site's objects usually get, see [`Aged`]): it grew more than sampling and chance explain; it is still growing;
//! no single epoch made it; and it grew more than the site has been seen to give back.

mod accuse;
mod age;
mod aged;
mod basis;
mod course;
mod flow;
mod hindrance;
mod judge;
mod judgement;
mod limit;
mod pause;
mod posterior;
mod probability;
mod rate;
mod shape;
mod staircase;
mod units;
mod verdict;
mod window;

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;

pub(crate) use accuse::accuse;
pub(crate) use age::Age;
use aged::Aged;
pub(crate) use basis::{Basis, Circumstances};
use flow::Flow;
pub(crate) use hindrance::Hindrance;
pub(crate) use judge::LEAST_SNAPSHOTS;
#[cfg(test)]
pub(crate) use judge::judge;
pub(crate) use judgement::Judgement;
pub(crate) use posterior::Posterior;
pub(crate) use rate::theil_sen_of;
pub(crate) use shape::{Fact, Shape};
pub(crate) use verdict::{Verdict, until_limit};
use window::Window;
