//! Reads a heap profile of any format that is known, told by its first bytes.

mod limits;
mod stream;

pub(super) use limits::{Budget, MAX_DEPTH, MAX_SAMPLE_TYPES, MAX_STREAM, MAX_STRING};
pub(super) use stream::{Input, Stream};

use super::{heap_v2, pprof_read};
use crate::error::{Error, Result};
use crate::profile::Profile;

/// Reads profile.proto, jemalloc's dump or the text of `debug=1`, each gzipped or not.
///
/// What is kept is bounded by [`Budget`]; a list that grows is there twice for a moment, so half as much again may be held.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed), with the place and what is wrong there.
pub(crate) fn read(bytes: &[u8]) -> Result<Profile> {
    let mut budget = Budget::of(bytes.len());
    let input = Input::new(bytes);
    let mut stream = input.stream();
    let start = stream.peek()?;
    if start.is_empty() {
        return Err(unknown(start));
    }
    if heap_v2::is_text(start) {
        return match input.plain() {
            Some(text) => heap_v2::read(text, &mut budget),
            None => heap_v2::read(&inflated(stream, &mut budget)?, &mut budget),
        };
    }
    // Only what cannot be read is called text: a profile may begin with any of its fields.
    let is_text = looks_like_text(start).then(|| unknown(start));
    pprof_read::read(input, &mut budget).map_err(|error| is_text.unwrap_or(error))
}

/// The rest of a stream. Text is read from one piece of memory.
fn inflated(mut stream: Stream<'_>, budget: &mut Budget) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let here = stream.peek()?.len();
        if here == 0 {
            return Ok(text);
        }
        if text.capacity() - text.len() < here {
            let more = here.max(text.capacity());
            budget.take(more)?;
            text.reserve_exact(more);
        }
        let end = stream.position() + here as u64;
        stream.pieces(end, |piece| text.extend_from_slice(piece))?;
    }
}

fn looks_like_text(start: &[u8]) -> bool {
    start.first().is_some_and(u8::is_ascii_graphic)
        && start.iter().take(16).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

fn unknown(start: &[u8]) -> Error {
    let found = if start.is_empty() { "nothing".to_owned() } else { heap_v2::quoted(start) };
    Error::malformed(format!(
        "profile: begins with {found}; allowed are profile.proto and the text of jemalloc's dumps (`heap_v2/…`) or of pprof's \
         `debug=1` (`heap profile: …`), each gzipped or not"
    ))
}

#[cfg(test)]
mod tests;
