//! What is served under `debug/pprof/`, as Go's `net/http/pprof` serves it.
//!
//! Source: net/http/pprof/pprof.go and runtime/pprof of Go 1.22. As there, parameters that an endpoint does not know
//! are ignored: scrapers send their own. Those that it knows must be right.

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};

use super::answer::{self, Answer};
use super::query::Query;
use super::render::{aside, render_as};
use crate::error::{Error, Result};
use crate::format::Capped;
use crate::profile::Address;
#[cfg(feature = "cpu")]
use crate::profiler::CpuProfile;
use crate::profiler::{Heap, Operation, Shared, Shown};

/// What can be asked for, for the listing.
const PROFILES: [(&str, &str); 8] = [
    ("heap", "the live heap now; seconds=N: what changed in that time; gc=1: gives unused pages back first"),
    ("heap?debug=1", "the same as text, its counts as sampled"),
    ("allocs", "the same, showing all allocations first"),
    ("profile?seconds=30", "a CPU profile (with heapward's feature `cpu`)"),
    ("cmdline", "the command line"),
    ("symbol", "names for addresses: POST 0x1+0x2"),
    ("../../api/snapshots", "snapshots that are kept"),
    ("../..", "everything else"),
];

/// The longest difference and CPU profile. Somebody waits for it with a connection open.
pub(super) const MOST_SECONDS: usize = 300;

/// Profiles that may be waiting for their end at once: each holds a copy of the live set's table.
const MOST_DIFFERENCES: usize = 4;

/// The listing.
pub(super) fn index() -> Answer {
    let mut body = String::from(super::handlers::INDEX_HEAD);
    for (path, what) in PROFILES {
        body.push_str(&format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n"));
    }
    body.push_str("</ul>\n</html>\n");
    answer::with_body(StatusCode::OK, "text/html; charset=utf-8", body)
}

/// `heap` and `allocs`, which differ in what a viewer shows first.
pub(super) async fn heap(
    shared: &Arc<Shared>,
    parts: &Parts,
    default_sample_type: &'static str,
    name: &'static str,
) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let debug = query.number("debug", 0..=usize::MAX, 0)?;
    let purge = query.number("gc", 0..=usize::MAX, 0)? > 0;
    let seconds = query.optional_number("seconds", 1..=MOST_SECONDS)?;
    if debug > 0 && seconds.is_some() {
        return Err(Error::config(
            "parameters `seconds` and `debug` do not go together: a difference has no text form",
        ));
    }
    let shown = Shown { default_sample_type, trim: query.parsed("trim")?.unwrap_or_default() };
    let Some(seconds) = seconds else {
        return render_as(Operation::Pprof, shared, move |shared, namer| {
            if purge {
                shared.purge_decayed()?;
            }
            let view = shared.view(Heap::Live)?;
            let mut body = Vec::new();
            if debug > 0 {
                view.write_text(namer, &mut body).map_err(writing)?;
                return Ok(answer::text(StatusCode::OK, body));
            }
            view.write_pprof(namer, &shown, &mut body).map_err(writing)?;
            Ok(answer::profile(name, body))
        })
        .await;
    };
    let turn = shared.take_difference(MOST_DIFFERENCES)?;
    let (view, turn) = aside(shared, move |shared, patience| {
        if purge {
            shared.purge_decayed()?;
        }
        let base = shared.moment(Heap::Live)?;
        patience.wait(Duration::from_secs(seconds as u64))?;
        Ok((shared.between(base, shared.moment(Heap::Live)?), turn))
    })
    .await?;
    render_as(Operation::Pprof, shared, move |_, namer| {
        let mut body = Vec::new();
        view.write_pprof(namer, &shown, &mut body).map_err(writing)?;
        // With both copies of the heap, wherever this closure ends.
        drop((view, turn));
        Ok(answer::profile(name, body))
    })
    .await
}

pub(super) fn writing(error: std::io::Error) -> Error {
    Error::io("writing a profile", error)
}

/// The command line, its parts separated by NUL.
pub(super) fn cmdline() -> Answer {
    let arguments: Vec<_> = std::env::args_os().collect();
    let arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    answer::text(StatusCode::OK, arguments.join(&0))
}

/// Names for addresses, `0x1+0x2` in the body of a POST or as the query of a GET: a line `0x1 name` for each that has
/// one.
pub(super) async fn symbol(shared: &Arc<Shared>, parts: &Parts, body: &Bytes) -> Result<Answer> {
    let asked = match parts.method {
        Method::POST => body.clone(),
        _ => Bytes::copy_from_slice(parts.uri.query().unwrap_or_default().as_bytes()),
    };
    render_as(Operation::Pprof, shared, move |shared, namer| {
        let asked = String::from_utf8_lossy(&asked);
        let mut addresses = match asked.trim() {
            "" => Vec::new(),
            asked => asked.split('+').map(address).collect::<Result<Vec<Address>>>()?,
        };
        // Each once, however often it is asked for.
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        let names = shared.names(&addresses, namer);
        let mut answer = Capped::new("ask for fewer names");
        // Go says how many symbols it has, which pprof takes for whether it has any.
        let mut written = answer.write_all(b"num_symbols: 1\n");
        for address in &addresses {
            if let Some(function) = names.get(address).and_then(|frame| frame.functions().first()) {
                written = written.and_then(|()| writeln!(answer, "{:#x} {}", address.0, function.name));
            }
        }
        let body = answer.finish(written.map_err(|error| Error::io("writing names", error)))?;
        Ok(answer::text(StatusCode::OK, body))
    })
    .await
}

fn address(text: &str) -> Result<Address> {
    let digits = text.trim().strip_prefix("0x").unwrap_or("");
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    number.map(Address).ok_or_else(|| {
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Error::config(format!("`{shown}` is not an address: allowed are 0x and hex digits, joined by +"))
    })
}

#[cfg(feature = "cpu")]
const CPU_PROF: &str = "attachment; filename=\"profile\"";

/// A CPU profile.
#[cfg(feature = "cpu")]
pub(super) async fn profile(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let seconds = query.optional_number("seconds", 1..=MOST_SECONDS)?.unwrap_or(30);
    if parts.method == Method::HEAD {
        // Not worth a profile.
        return Ok(answer::profile(CPU_PROF, Vec::new()));
    }
    let taken = aside(shared, move |shared, patience| {
        let profile = CpuProfile::start(shared)?;
        patience.wait(Duration::from_secs(seconds as u64))?;
        profile.finish()
    })
    .await?;
    render_as(Operation::Pprof, shared, move |_, namer| {
        let mut body = Vec::new();
        taken.write(namer, &mut body).map_err(writing)?;
        Ok(answer::profile(CPU_PROF, body))
    })
    .await
}

/// Says how to get CPU profiles.
#[cfg(not(feature = "cpu"))]
pub(super) async fn profile(_: &Arc<Shared>, _: &Parts) -> Result<Answer> {
    let message = "this service was built without CPU profiles: enable heapward's feature `cpu`\n";
    Ok(answer::text(StatusCode::NOT_IMPLEMENTED, message))
}
