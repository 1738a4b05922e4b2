//! Reads profile.proto: ours, Go's, jemalloc_pprof's, anybody's that has a heap in it.
//!
//! Source: `proto/profile.proto` of google/pprof. Messages may come in any order, and what a sample means stands in the
//! string table, which we and others write last. So the content is streamed twice: once for all that is not a sample, and
//! once for the samples, which then go straight to where they stay.
//!
//! Stricter than google/pprof (`postDecode` in its `profile/encode.go`), which takes the id of a mapping that is not there
//! for none.

mod ids;
mod left_out;
mod model;
mod sample_types;
mod samples;
mod tables;
mod wire;

use super::read::{Budget, Input};
use crate::error::Result;
use crate::profile::Profile;
use tables::Tables;
use wire::Wire;

/// Reads a profile. All that is kept is charged to `budget`.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed), with the byte of the content, counted after
/// decompression, and the message there.
pub(super) fn read(input: Input<'_>, budget: &mut Budget) -> Result<Profile> {
    let mut tables = Tables::read(&mut Wire::new(input.stream()), budget)?;
    let (mut profile, sample_types) = model::build(&mut tables, budget)?;
    samples::read(&mut Wire::new(input.stream()), &mut tables, &sample_types, &mut profile, budget)?;
    profile.comments.extend(tables.left_out.comments());
    Ok(profile)
}

#[cfg(test)]
mod tests;
