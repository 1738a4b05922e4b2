//! One function for each thing that can be asked.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, StatusCode};

use super::answer::{self, Answer, TEXT};
use super::diff_json::DiffJson;
use super::diff_text::diff_table;
use super::json::{EpisodeList, MemoryReport, SnapshotEntry, SnapshotList, TopReport, rules_text};
use super::monitoring::{self, Monitored};
use super::pprof;
use super::query::Query;
use super::render::{gave_up, render, render_as};
use super::runs::{self, HeapName, render_heaps};
use super::table::table;
use crate::analysis::{Grouping, Question, Sort, Top};
use crate::error::{Error, ErrorKind, Result};
use crate::format::flamegraph::{self, Options};
use crate::format::{Capped, folded};
use crate::metrics::{Exposition, scrape};
use crate::profile::{INUSE_SPACE, SAMPLE_TYPES};
use crate::profiler::{Asker, Heap, Operation, Shared, Shown};
use crate::snapshot::{Selector, Snapshot};

/// What can be asked, for the listing.
const PATHS: &[(&str, &str)] = &[
    ("debug/pprof/", "profiles for go tool pprof and scrapers, as Go's net/http/pprof"),
    ("debug/pprof/heap", "the live heap now, for go tool pprof"),
    ("debug/pprof/allocs", "the same, showing all allocations first"),
    ("api/snapshots", "the kept snapshots; POST takes one now"),
    ("api/snapshots/latest", "one snapshot, by id or as latest, baseline, peak"),
    ("api/snapshots/latest/heap.prof", "a snapshot for go tool pprof"),
    ("api/snapshots/baseline/heap.prof", "the first snapshot"),
    ("api/snapshots/peak/heap.prof", "the snapshot with the highest RSS"),
    ("api/snapshots/latest/top", "its largest sites"),
    ("api/snapshots/latest/flamegraph.svg", "its flame graph; ?by=, ?site=, ?min=, ?trim="),
    ("api/snapshots/latest/folded", "its stacks as folded text, for other tools"),
    (
        "api/runs",
        "earlier runs and how they ended; ?run=previous or an id goes with snapshots and diffs, ?base_run= with diffs",
    ),
    ("api/diff/baseline/latest", "what changed between two snapshots, or since one (live), and how sure that is"),
    ("api/diff/baseline/latest/heap.prof", "the same for go tool pprof"),
    ("api/diff/baseline/latest/flamegraph.svg", "the same as a flame graph"),
    ("api/leaks", "what grows without bound, and why the rest is not accused"),
    ("api/episodes", "rises of memory, each with its snapshots"),
    ("api/alerts", "the alert there is, those there were, and whether they arrived"),
    ("api/memory", "memory gauges and heapward's own figures"),
    (
        "api/monitoring/detailed-metrics",
        "the machine's memory, its largest processes, and all gauges; /schema below it says what is in it",
    ),
    (
        "api/monitoring/hotspots",
        "RSS and CPU over time with their trends, the largest sites, what heapward was slow at; /schema",
    ),
    ("api/monitoring/memory-leaks", "the kept snapshots with their largest sites, and the suspects; /schema"),
    ("metrics", "the same for Prometheus"),
    ("healthz", "whether the watcher lives"),
];

/// The links are relative, so that they work wherever a host mounts us. That takes a slash at the end of the address,
/// which no router tells us about.
pub(super) const INDEX_HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>heapward</title>
<script>if (!location.pathname.endsWith("/")) location.pathname += "/";</script>
<h1>heapward</h1>
<ul>
"#;

/// Rows of a diff that can be asked for: with stacks and figures a row of JSON takes ten thousand bytes and more.
const MOST_DIFF_ROWS: usize = 1_000;

/// Sites that can be asked for: a row takes some hundred bytes.
const MOST_SITES: usize = 10_000;

/// What to do where a table is too large.
const FEWER_ROWS: &str = "ask for fewer rows, with a smaller `n`";

/// `Content-Disposition` of the profiles.
const HEAP_PROF: &str = "attachment; filename=\"heap.prof\"";
const ALLOCS_PROF: &str = "attachment; filename=\"allocs.prof\"";

/// A path that is ours. Selectors are as they were sent: which snapshot they name is the endpoint's to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'p> {
    Index,
    Health,
    Metrics,
    Pprof,
    Heap,
    Allocs,
    Cmdline,
    Symbol,
    Cpu,
    Episodes,
    Memory,
    Leaks,
    Monitoring(Monitored),
    MonitoringSchema(Monitored),
    Alerts,
    Runs,
    Snapshots,
    Snapshot(&'p str),
    SnapshotProfile(&'p str),
    SnapshotTop(&'p str),
    SnapshotFlamegraph(&'p str),
    SnapshotFolded(&'p str),
    /// Base, then later.
    Diff(&'p str, &'p str),
    DiffProfile(&'p str, &'p str),
    DiffFlamegraph(&'p str, &'p str),
}

impl<'p> Endpoint<'p> {
    /// The endpoint at `path`, relative to where we are mounted; `None` when nothing of ours has it.
    pub(super) fn find(path: &'p str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        Some(match *segments.as_slice() {
            [""] => Self::Index,
            ["healthz"] => Self::Health,
            ["metrics"] => Self::Metrics,
            ["debug", "pprof"] => Self::Pprof,
            ["debug", "pprof", "heap"] => Self::Heap,
            ["debug", "pprof", "allocs"] => Self::Allocs,
            ["debug", "pprof", "cmdline"] => Self::Cmdline,
            ["debug", "pprof", "symbol"] => Self::Symbol,
            ["debug", "pprof", "profile"] => Self::Cpu,
            ["api", "episodes"] => Self::Episodes,
            ["api", "memory"] => Self::Memory,
            ["api", "leaks"] => Self::Leaks,
            ["api", "monitoring", name] => Self::Monitoring(Monitored::find(name)?),
            ["api", "monitoring", name, "schema"] => Self::MonitoringSchema(Monitored::find(name)?),
            ["api", "alerts"] => Self::Alerts,
            ["api", "runs"] => Self::Runs,
            ["api", "snapshots"] => Self::Snapshots,
            ["api", "snapshots", selector] => Self::Snapshot(selector),
            ["api", "snapshots", selector, "heap.prof"] => Self::SnapshotProfile(selector),
            ["api", "snapshots", selector, "top"] => Self::SnapshotTop(selector),
            ["api", "snapshots", selector, "flamegraph.svg"] => Self::SnapshotFlamegraph(selector),
            ["api", "snapshots", selector, "folded"] => Self::SnapshotFolded(selector),
            ["api", "diff", base, later] => Self::Diff(base, later),
            ["api", "diff", base, later, "heap.prof"] => Self::DiffProfile(base, later),
            ["api", "diff", base, later, "flamegraph.svg"] => Self::DiffFlamegraph(base, later),
            _ => return None,
        })
    }

    /// The methods that it answers.
    fn allowed(self) -> &'static str {
        match self {
            Self::Snapshots | Self::Symbol => "GET, HEAD, POST",
            _ => "GET, HEAD",
        }
    }
}

/// Answers a request to `endpoint`.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: &Bytes,
    endpoint: Endpoint<'_>,
) -> Result<Answer> {
    if !endpoint.allowed().split(", ").any(|method| method == parts.method) {
        return Ok(answer::method_not_allowed(endpoint.allowed()));
    }
    match endpoint {
        Endpoint::Index => index(parts),
        Endpoint::Health => health(shared, parts),
        Endpoint::Metrics => metrics(shared, parts),
        Endpoint::Pprof => Ok(pprof::index()),
        Endpoint::Heap => pprof::heap(shared, parts, "inuse_space", HEAP_PROF).await,
        Endpoint::Allocs => pprof::heap(shared, parts, "alloc_space", ALLOCS_PROF).await,
        Endpoint::Cmdline => Ok(pprof::cmdline()),
        Endpoint::Symbol => pprof::symbol(shared, parts, body).await,
        Endpoint::Cpu => pprof::profile(shared, parts).await,
        Endpoint::Episodes => no_parameters(parts).map(|()| answer::json(StatusCode::OK, &EpisodeList::of(shared))),
        Endpoint::Memory => memory(shared, parts),
        Endpoint::Leaks => leaks(shared, parts).await,
        Endpoint::Monitoring(what) => monitoring::answer(shared, parts, what).await,
        Endpoint::MonitoringSchema(what) => no_parameters(parts).map(|()| monitoring::schema(what)),
        Endpoint::Alerts => alerts(shared, parts),
        Endpoint::Runs => runs::list(shared, parts).await,
        Endpoint::Snapshots if parts.method == Method::POST => take(shared, parts).await,
        Endpoint::Snapshots => list(shared, parts).await,
        Endpoint::Snapshot(selector) => one(shared, parts, selector.parse()?).await,
        Endpoint::SnapshotProfile(selector) => heap_prof(shared, parts, None, HeapName::Kept(selector.parse()?)).await,
        Endpoint::SnapshotTop(selector) => top(shared, parts, selector.parse()?).await,
        Endpoint::SnapshotFlamegraph(selector) => {
            flamegraph(shared, parts, None, HeapName::Kept(selector.parse()?)).await
        }
        Endpoint::SnapshotFolded(selector) => folded(shared, parts, selector.parse()?).await,
        Endpoint::Diff(base, later) => diff(shared, parts, base.parse()?, later.parse()?).await,
        Endpoint::DiffProfile(base, later) => heap_prof(shared, parts, Some(base.parse()?), later.parse()?).await,
        Endpoint::DiffFlamegraph(base, later) => flamegraph(shared, parts, Some(base.parse()?), later.parse()?).await,
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

fn memory(shared: &Shared, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    if accept(parts).contains("text/plain") {
        return Ok(answer::text(StatusCode::OK, rules_text(&shared.status().clone())));
    }
    Ok(answer::json(StatusCode::OK, &MemoryReport::of(shared)))
}

fn metrics(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let format = Exposition::accepted(accept(parts));
    Ok(answer::with_body(StatusCode::OK, format.content_type(), scrape(shared, format)?))
}

/// By the renderer: up to a thousand snapshots and their words are more than a server's thread has time for.
async fn list(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let run = query.parsed("run")?;
    query.finish()?;
    if let Some(run) = run {
        return runs::snapshots(shared, run).await;
    }
    render(shared, |shared, _| answer::capped_json(&SnapshotList::of(shared), "ask for one snapshot, by its id")).await
}

async fn take(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let (reply, taken) = tokio::sync::oneshot::channel();
    shared.request_snapshot(move |snapshot: Result<Arc<Snapshot>>| {
        // Gone only when the client is.
        let _ = reply.send(snapshot);
    })?;
    let snapshot = taken.await.map_err(|_| gave_up())??;
    Ok(answer::json(StatusCode::CREATED, &entry(shared, &snapshot)))
}

/// A snapshot beside the first one.
fn entry(shared: &Shared, snapshot: &Snapshot) -> SnapshotEntry {
    let baseline = shared.history().find(Selector::Baseline).ok();
    SnapshotEntry::of(snapshot, baseline.as_deref(), shared)
}

async fn one(shared: &Arc<Shared>, parts: &Parts, selector: Selector) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let run = query.parsed("run")?;
    query.finish()?;
    if let Some(run) = run {
        return runs::snapshot(shared, run, selector).await;
    }
    let snapshot = shared.history().find(selector)?;
    Ok(answer::json(StatusCode::OK, &entry(shared, &snapshot)))
}

/// A snapshot, or what changed in it since `base`.
async fn heap_prof(shared: &Arc<Shared>, parts: &Parts, base: Option<Selector>, later: HeapName) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let shown = Shown { default_sample_type: "inuse_space", trim: query.parsed("trim")?.unwrap_or_default() };
    let (base, later) = runs::of_runs(&mut query, base, later)?;
    query.finish()?;
    render_heaps(Operation::Pprof, shared, base, later, move |shared, namer, base, later| {
        let view = match base {
            Some(base) => shared.difference(base, later)?,
            None => shared.view(later)?,
        };
        let mut body = Vec::new();
        view.write_pprof(namer, &shown, &mut body).map_err(pprof::writing)?;
        Ok(answer::profile(HEAP_PROF, body))
    })
    .await
}

async fn top(shared: &Arc<Shared>, parts: &Parts, selector: Selector) -> Result<Answer> {
    let names = SAMPLE_TYPES.map(|sample_type| sample_type.name);
    let mut query = Query::parse(parts.uri.query());
    let count = query.number("n", 1..=MOST_SITES, 20)?;
    let by = query.word("by", &names, INUSE_SPACE)?;
    let trim = query.parsed("trim")?.unwrap_or_default();
    let heap = runs::of_run(&mut query, selector)?;
    query.finish()?;
    let as_text = accept(parts).contains("text/plain");
    render_heaps(Operation::Top, shared, None, heap, move |shared, namer, _, heap| {
        let (profile, live) = shared.measured_profile(heap, namer)?;
        let top = Top::of(&profile, Some(&live), by, count, trim);
        if as_text {
            answer::written(TEXT, FEWER_ROWS, |out| out.write_all(table(&top, by).as_bytes()))
        } else {
            answer::capped_json(&TopReport::of(top, profile.time, profile.comments), FEWER_ROWS)
        }
    })
    .await
}

async fn diff(shared: &Arc<Shared>, parts: &Parts, base: Selector, later: HeapName) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let by = query.word("by", &Grouping::NAMES, Grouping::default() as usize)?;
    let count = query.number("n", 1..=MOST_DIFF_ROWS, 20)?;
    let sort = query.word("sort", &Sort::NAMES, Sort::default() as usize)?;
    let trim = query.parsed("trim")?.unwrap_or_default();
    let all = query.word("all", &["false", "true"], 0)? == 1;
    let (base, later) = runs::of_runs(&mut query, Some(base), later)?;
    query.finish()?;
    let as_text = accept(parts).contains("text/plain");
    let question =
        Question { by: Grouping::ALL[by], trim, sort: Sort::ALL[sort], count, only_significant: as_text && !all };
    render_heaps(Operation::Diff, shared, base, later, move |shared, namer, base, later| {
        let base = base.ok_or_else(gave_up)?;
        let report = shared.diff(base, later, &question, namer)?;
        if as_text {
            answer::written(TEXT, FEWER_ROWS, |out| diff_table(&report, all, out))
        } else {
            answer::capped_json(&DiffJson::of(report), FEWER_ROWS)
        }
    })
    .await
}

async fn leaks(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let as_text = accept(parts).contains("text/plain");
    let asker = Asker::new();
    let wanted = asker.wanted();
    let answer = render_as(Operation::Leaks, shared, move |shared, namer| {
        let report = shared.leaks(namer, &wanted)?;
        if as_text {
            answer::written(TEXT, "its JSON has the same", |out| write!(out, "{report}"))
        } else {
            answer::capped_json(&report, "its text (Accept: text/plain) is smaller")
        }
    })
    .await;
    // Who left before dropped it with this future.
    drop(asker);
    answer
}

fn alerts(shared: &Shared, parts: &Parts) -> Result<Answer> {
    no_parameters(parts)?;
    let desk = shared.alerts();
    let desk =
        desk.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are no alerts: HEAPWARD_ALERT_THRESHOLD is off"))?;
    Ok(answer::json(StatusCode::OK, &desk.report()))
}

/// What a drawing is asked to show.
fn drawing(query: &mut Query, default_min_percent: f64) -> Result<Options> {
    let names = SAMPLE_TYPES.map(|sample_type| sample_type.name);
    Ok(Options {
        by: query.word("by", &names, INUSE_SPACE)?,
        site: query.text("site")?,
        min_percent: query.percent("min", default_min_percent)?,
        trim: query.parsed("trim")?.unwrap_or_default(),
        title: None,
    })
}

/// A snapshot, or what changed in it since `base`.
async fn flamegraph(shared: &Arc<Shared>, parts: &Parts, base: Option<Selector>, later: HeapName) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let mut options = drawing(&mut query, flamegraph::DEFAULT_MIN_PERCENT)?;
    // Where the picture's own script keeps what was clicked on.
    query.ignore(&["x", "y", "s"]);
    let (base, later) = runs::of_runs(&mut query, base, later)?;
    query.finish()?;
    render_heaps(Operation::Flamegraph, shared, base, later, move |shared, namer, base, later| {
        // By its number: a picture is saved, and `latest` is another tomorrow.
        let find = |heap: Heap| -> Result<(Heap, String)> {
            Ok(match heap {
                Heap::Live => (heap, "the live heap".to_owned()),
                Heap::Kept(selector) => {
                    let id = Selector::Id(shared.history().find(selector)?.id);
                    (Heap::Kept(id), format!("snapshot {id}"))
                }
                Heap::Earlier(heap) => {
                    let name = format!("snapshot {} of {}", heap.head().id, heap.head().text);
                    (Heap::Earlier(heap), name)
                }
            })
        };
        let base = base.map(find).transpose()?;
        let (later, shown) = find(later)?;
        if let Some((base, _)) = &base {
            shared.check_comparable(base, &later)?;
        }
        let profile = shared.profile(later, namer)?;
        let by = SAMPLE_TYPES.get(options.by).map_or("", |sample_type| sample_type.name);
        let when = super::json::time(profile.time);
        let svg = match base {
            Some((base, name)) => {
                let name = name.strip_prefix("snapshot ").unwrap_or(&name);
                options.title = Some(format!("heapward: {by}, {shown} ({when}) against {name}"));
                flamegraph::differential(&shared.profile(base, namer)?, &profile, &options)?
            }
            None => {
                options.title = Some(format!("heapward: {by}, {shown} ({when})"));
                flamegraph::svg(&profile, &options)?
            }
        };
        Ok(answer::with_body(StatusCode::OK, "image/svg+xml", svg))
    })
    .await
}

async fn folded(shared: &Arc<Shared>, parts: &Parts, selector: Selector) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let options = drawing(&mut query, folded::DEFAULT_MIN_PERCENT)?;
    let heap = runs::of_run(&mut query, selector)?;
    query.finish()?;
    render_heaps(Operation::Folded, shared, None, heap, move |shared, namer, _, heap| {
        let mut body = Capped::new("ask for less, with a higher `min` or a `site`");
        let written = folded::write(&shared.profile(heap, namer)?, &options, &mut body);
        Ok(answer::text(StatusCode::OK, body.finish(written)?))
    })
    .await
}
