//! One function for each thing that can be asked.

use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, StatusCode};

use super::answer::{self, Answer};
use super::json::{MemoryReport, SnapshotEntry, SnapshotList, TopReport};
use super::query::Query;
use crate::analysis::Top;
use crate::error::{Error, ErrorKind, Result};
use crate::format::pprof;
use crate::metrics::{Exposition, scrape};
use crate::profile::{ByteSize, INUSE_SPACE, SAMPLE_TYPES, Trim};
use crate::profiler::{Heap, Shared};
use crate::snapshot::{Selector, Snapshot};
use crate::symbolize::SymbolCache;

/// What can be asked, for the listing.
const PATHS: [(&str, &str); 12] = [
    ("debug/pprof/heap", "the live heap now, for go tool pprof"),
    ("debug/pprof/allocs", "the same, showing all allocations first"),
    ("api/snapshots", "the kept snapshots; POST takes one now"),
    ("api/snapshots/latest", "one snapshot, by id or as latest, baseline, peak"),
    ("api/snapshots/latest/heap.prof", "a snapshot for go tool pprof"),
    ("api/snapshots/baseline/heap.prof", "the first snapshot"),
    ("api/snapshots/peak/heap.prof", "the snapshot with the highest RSS"),
    ("api/snapshots/latest/top", "its largest sites"),
    ("api/snapshots/latest/flamegraph.svg", "its flame graph"),
    ("api/memory", "memory gauges and heapward's own figures"),
    ("metrics", "the same for Prometheus"),
    ("healthz", "whether the watcher lives"),
];

/// The links are relative, so that they work wherever a host mounts us. That takes a slash at the end of the address,
/// which no router tells us about.
const INDEX_HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>heapward</title>
<script>if (!location.pathname.endsWith("/")) location.pathname += "/";</script>
<h1>heapward</h1>
<ul>
"#;

/// `Content-Disposition` of the profiles.
const HEAP_PROF: &str = "attachment; filename=\"heap.prof\"";
const ALLOCS_PROF: &str = "attachment; filename=\"allocs.prof\"";

/// A path that is ours. Selectors are as they were sent: which snapshot they name is the endpoint's to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'p> {
    Index,
    Health,
    Metrics,
    Heap,
    Allocs,
    Memory,
    Snapshots,
    Snapshot(&'p str),
    SnapshotProfile(&'p str),
    SnapshotTop(&'p str),
    SnapshotFlamegraph(&'p str),
}

impl<'p> Endpoint<'p> {
    /// The endpoint at `path`, relative to where we are mounted; `None` when nothing of ours has it.
    pub(super) fn find(path: &'p str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        Some(match *segments.as_slice() {
            [""] => Self::Index,
            ["healthz"] => Self::Health,
            ["metrics"] => Self::Metrics,
            ["debug", "pprof", "heap"] => Self::Heap,
            ["debug", "pprof", "allocs"] => Self::Allocs,
            ["api", "memory"] => Self::Memory,
            ["api", "snapshots"] => Self::Snapshots,
            ["api", "snapshots", selector] => Self::Snapshot(selector),
            ["api", "snapshots", selector, "heap.prof"] => Self::SnapshotProfile(selector),
            ["api", "snapshots", selector, "top"] => Self::SnapshotTop(selector),
            ["api", "snapshots", selector, "flamegraph.svg"] => Self::SnapshotFlamegraph(selector),
            _ => return None,
        })
    }
}

/// Answers a request to `endpoint`.
pub(super) async fn answer(shared: &Arc<Shared>, parts: &Parts, endpoint: Endpoint<'_>) -> Result<Answer> {
    if endpoint == Endpoint::Snapshots && parts.method == Method::POST {
        return take(shared, parts).await;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let allowed = if endpoint == Endpoint::Snapshots { "GET, HEAD, POST" } else { "GET, HEAD" };
        return Ok(answer::method_not_allowed(allowed));
    }
    match endpoint {
        Endpoint::Index => index(parts),
        Endpoint::Health => health(shared, parts),
        Endpoint::Metrics => metrics(shared, parts),
        Endpoint::Heap => heap_prof(shared, parts, Heap::Live, "inuse_space", HEAP_PROF).await,
        Endpoint::Allocs => heap_prof(shared, parts, Heap::Live, "alloc_space", ALLOCS_PROF).await,
        Endpoint::Memory => no_parameters(parts).map(|()| answer::json(StatusCode::OK, &MemoryReport::of(shared))),
        Endpoint::Snapshots => no_parameters(parts).map(|()| answer::json(StatusCode::OK, &SnapshotList::of(shared))),
        Endpoint::Snapshot(selector) => one(shared, parts, selector.parse()?),
        Endpoint::SnapshotProfile(selector) => {
            heap_prof(shared, parts, Heap::Kept(selector.parse()?), "inuse_space", HEAP_PROF).await
        }
        Endpoint::SnapshotTop(selector) => top(shared, parts, selector.parse()?).await,
        Endpoint::SnapshotFlamegraph(selector) => flamegraph(shared, parts, selector.parse()?).await,
    }
}

/// What a path that nothing has is answered with.
pub(super) fn not_found() -> Answer {
    let mut body = String::from("nothing has this path; there are:\n");
    for (path, what) in PATHS {
        body.push_str(&format!("/{path}: {what}\n"));
    }
    answer::text(StatusCode::NOT_FOUND, body)
}

fn no_parameters(parts: &Parts) -> Result<()> {
    Query::parse(parts.uri.query()).finish()
}

fn accept(parts: &Parts) -> &str {
    parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn index(parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let mut body = String::from(INDEX_HEAD);
    for (path, what) in PATHS {
        body.push_str(&format!("<li><a href=\"{path}\">/{path}</a>: {what}</li>\n"));
    }
    body.push_str("</ul>\n</html>\n");
    Ok(answer::with_body(StatusCode::OK, "text/html; charset=utf-8", body))
}

fn health(shared: &Shared, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let (age, allowed) = shared.heartbeat();
    if age <= allowed {
        return Ok(answer::text(StatusCode::OK, "ok\n"));
    }
    let body =
        format!("the watcher polled last {:.1} s ago; allowed is {:.1} s\n", age.as_secs_f64(), allowed.as_secs_f64());
    Ok(answer::text(StatusCode::SERVICE_UNAVAILABLE, body))
}

fn metrics(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let format = Exposition::accepted(accept(parts));
    Ok(answer::with_body(StatusCode::OK, format.content_type(), scrape(shared, format)?))
}

async fn take(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let (reply, taken) = tokio::sync::oneshot::channel();
    shared.request_snapshot(move |snapshot: Result<Arc<Snapshot>>| {
        // Gone only when the client is.
        let _ = reply.send(snapshot);
    })?;
    let snapshot = taken.await.map_err(|_| gave_up())??;
    Ok(answer::json(StatusCode::CREATED, &SnapshotEntry::of(&snapshot)))
}

fn one(shared: &Shared, parts: &Parts, selector: Selector) -> Result<Answer> {
    no_parameters(parts)?;
    let snapshot = shared.history().find(selector)?;
    Ok(answer::json(StatusCode::OK, &SnapshotEntry::of(&snapshot)))
}

async fn heap_prof(
    shared: &Arc<Shared>,
    parts: &Parts,
    heap: Heap,
    default_sample_type: &'static str,
    name: &'static str,
) -> Result<Answer> {
    no_parameters(parts)?;
    render(shared, move |shared, cache| {
        let mut profile = shared.profile(heap, cache)?;
        profile.default_sample_type = default_sample_type;
        let mut body = Vec::new();
        pprof::write(&profile, &mut body).map_err(|error| Error::io("writing a profile", error))?;
        Ok(answer::profile(name, body))
    })
    .await
}

async fn top(shared: &Arc<Shared>, parts: &Parts, selector: Selector) -> Result<Answer> {
    let names = SAMPLE_TYPES.map(|sample_type| sample_type.name);
    let mut query = Query::parse(parts.uri.query());
    let count = query.number("n", 1..=10_000, 20)?;
    let by = query.word("by", &names, INUSE_SPACE)?;
    query.finish()?;
    let as_text = accept(parts).contains("text/plain");
    render(shared, move |shared, cache| {
        let profile = shared.profile(Heap::Kept(selector), cache)?;
        let top = Top::of(&profile, by, count, Trim::Std);
        Ok(if as_text {
            answer::text(StatusCode::OK, top_as_text(&top, by))
        } else {
            answer::json(StatusCode::OK, &TopReport::of(top, profile.time, profile.comments))
        })
    })
    .await
}

fn top_as_text(top: &Top, by: usize) -> String {
    let unit = SAMPLE_TYPES[by].unit;
    let show = |value: i64| match unit {
        "bytes" => ByteSize::bytes(value.unsigned_abs()).to_string(),
        _ => value.to_string(),
    };
    let total = top.totals[by];
    let mut text = format!(
        "{} of {} sites, by {}; estimated, {} in all\n",
        top.rows.len(),
        top.sites,
        SAMPLE_TYPES[by].name,
        show(total)
    );
    for row in &top.rows {
        let value = row.values[by];
        let share = if total == 0 { 0.0 } else { 100.0 * value as f64 / total as f64 };
        let place = match row.site.file.as_str() {
            "" => String::new(),
            file => format!(" {file}:{}", row.site.line),
        };
        text.push_str(&format!("{:>12} {share:>5.1}% {}{place}\n", show(value), row.site.function));
    }
    text
}

async fn flamegraph(shared: &Arc<Shared>, parts: &Parts, selector: Selector) -> Result<Answer> {
    let names = SAMPLE_TYPES.map(|sample_type| sample_type.name);
    let mut query = Query::parse(parts.uri.query());
    let by = query.word("by", &names, INUSE_SPACE)?;
    query.finish()?;
    render(shared, move |shared, cache| {
        let profile = shared.profile(Heap::Kept(selector), cache)?;
        let options = crate::format::flamegraph::Options { by, ..Default::default() };
        let svg = crate::format::flamegraph::svg(&profile, &options)?;
        Ok(answer::with_body(StatusCode::OK, "image/svg+xml", svg))
    })
    .await
}

/// Has an answer made by the renderer: looking names up and packing take time that the host's threads do not have.
async fn render(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared, &mut SymbolCache) -> Result<Answer> + Send + 'static,
) -> Result<Answer> {
    let (reply, done) = tokio::sync::oneshot::channel();
    shared.render(move |shared, cache| {
        // The client may have left while its request was waiting: then there is nobody to work for.
        if !reply.is_closed() {
            // Gone only when the client is.
            let _ = reply.send(work(shared, cache));
        }
    })?;
    done.await.map_err(|_| gave_up())?
}

fn gave_up() -> Error {
    Error::new(ErrorKind::Busy, "heapward's own thread gave this request up: it failed or is shutting down")
}
