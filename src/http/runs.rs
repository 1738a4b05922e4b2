//! Earlier runs: what they left, and which of two runs a request means.

use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::answer::{self, Answer};
use super::json::{EarlierEntry, EarlierList, RunList};
use super::query::Query;
use super::render::{aside, gave_up, render, render_as};
use crate::error::{Error, ErrorKind, Result};
use crate::profiler::{EarlierHeaps, EarlierRuns, Heap, Namer, Operation, Shared};
use crate::snapshot::{RunSelector, Selector};

/// A heap as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeapName {
    /// The heap as it is now.
    Live,
    /// A snapshot of this run.
    Kept(Selector),
    /// A snapshot of an earlier run.
    Earlier(RunSelector, Selector),
}

impl From<Selector> for HeapName {
    fn from(selector: Selector) -> Self {
        Self::Kept(selector)
    }
}

impl FromStr for HeapName {
    type Err = Error;

    /// As a [`Selector`], or `live`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "live" => Ok(Self::Live),
            _ => text.parse().map(Self::Kept).map_err(|error| Error::config(format!("{error}, or here also `live`"))),
        }
    }
}

/// `GET /api/runs`
pub(super) async fn list(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    Query::parse(parts.uri.query()).finish()?;
    let survey = match read(shared, |runs| runs.survey()).await {
        Ok(survey) => Some(survey),
        // No folder yet, or switched off: nothing is there.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    render(shared, |shared, _| answer::capped_json(&RunList::of(survey, shared), "remove runs from the folder")).await
}

/// `GET /api/snapshots?run=…`
pub(super) async fn snapshots(shared: &Arc<Shared>, run: RunSelector) -> Result<Answer> {
    let run = read(shared, move |runs| runs.run(run)).await?;
    render(shared, move |_, _| answer::capped_json(&EarlierList::of(run), "ask for one snapshot, by its id")).await
}

/// `GET /api/snapshots/{id}?run=…`
pub(super) async fn snapshot(shared: &Arc<Shared>, run: RunSelector, selector: Selector) -> Result<Answer> {
    let snapshot = read(shared, move |runs| runs.snapshot(run, selector)).await?;
    Ok(answer::json(StatusCode::OK, &EarlierEntry::of(snapshot)))
}

/// What the thread that reads finds in the folder. It may hang there; the renderer and the server's threads do not.
async fn read<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&EarlierRuns<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let asked = shared.read(work)?;
    aside(shared, move |_, patience| patience.read(&asked)).await
}

/// As [`render_as`], of the heap `later` and a `base`, if there is one, which are read before where they are of earlier runs.
pub(super) async fn render_heaps(
    operation: Operation,
    shared: &Arc<Shared>,
    base: Option<HeapName>,
    later: HeapName,
    work: impl FnOnce(&Shared, &mut Namer<'_>, Option<Heap>, Heap) -> Result<Answer> + Send + 'static,
) -> Result<Answer> {
    let earlier = |name: HeapName| match name {
        HeapName::Earlier(run, selector) => Some((run, selector)),
        HeapName::Live | HeapName::Kept(_) => None,
    };
    let named: Vec<_> = base.into_iter().chain([later]).filter_map(earlier).collect();
    let (mut heaps, turn) = if named.is_empty() {
        (Vec::new(), None)
    } else {
        let asked = shared.read_heaps(named)?;
        let EarlierHeaps { heaps, turn } = aside(shared, move |_, patience| patience.read(&asked)).await?;
        (heaps, Some(turn))
    };
    let mut heaps = heaps.drain(..);
    let mut heap = |name: HeapName| match name {
        HeapName::Live => Ok(Heap::Live),
        HeapName::Kept(selector) => Ok(Heap::Kept(selector)),
        HeapName::Earlier(..) => heaps.next().map(Heap::Earlier).ok_or_else(gave_up),
    };
    let base = base.map(&mut heap).transpose()?;
    let later = heap(later)?;
    render_as(operation, shared, move |shared, namer| {
        let answer = work(shared, namer, base, later);
        // Now nothing is left of what was read.
        drop(turn);
        answer
    })
    .await
}

/// What `heap` is where the query names a `run`.
pub(super) fn of_run(query: &mut Query, heap: impl Into<HeapName>) -> Result<HeapName> {
    of_runs(query, None, heap).map(|(_, heap)| heap)
}

/// What `base` and `later` are: `run` is that of both, and `base_run`, where it is given, that of the base.
pub(super) fn of_runs(
    query: &mut Query,
    base: Option<Selector>,
    later: impl Into<HeapName>,
) -> Result<(Option<HeapName>, HeapName)> {
    let run: Option<RunSelector> = query.parsed("run")?;
    let base_run = if base.is_some() { query.parsed("base_run")?.or(run) } else { None };
    let in_run = |heap: HeapName, run: Option<RunSelector>| match (heap, run) {
        (heap, None) => Ok(heap),
        (HeapName::Kept(selector), Some(run)) => Ok(HeapName::Earlier(run, selector)),
        (_, Some(_)) => {
            Err(Error::config("parameter `run`: the live heap is of this run; `base_run` alone names that of the base"))
        }
    };
    Ok((base.map(|base| in_run(base.into(), base_run)).transpose()?, in_run(later.into(), run)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_both_or_of_the_base_alone() {
        let check = |query: &str, later: HeapName| {
            let mut query = Query::parse(Some(query));
            let found = of_runs(&mut query, Some(Selector::Baseline), later)?;
            query.finish()?;
            Ok::<_, Error>(found)
        };
        let earlier = |run: &str, selector| HeapName::Earlier(run.parse().unwrap(), selector);
        let latest = HeapName::Kept(Selector::Latest);
        let (base, previous) = (Selector::Baseline, "previous");
        assert_eq!(check("", latest).unwrap(), (Some(HeapName::Kept(base)), latest));
        assert_eq!(
            check("run=previous", latest).unwrap(),
            (Some(earlier(previous, base)), earlier(previous, Selector::Latest))
        );
        assert_eq!(check("base_run=previous", latest).unwrap(), (Some(earlier(previous, base)), latest));
        assert_eq!(
            check("base_run=previous", HeapName::Live).unwrap(),
            (Some(earlier(previous, base)), HeapName::Live)
        );
        assert_eq!(
            check("base_run=1-0000000a&run=2-0000000b", latest).unwrap(),
            (Some(earlier("1-0000000a", base)), earlier("2-0000000b", Selector::Latest))
        );
        assert!(
            check("run=previous", HeapName::Live).unwrap_err().to_string().contains("the live heap is of this run")
        );
        let error = check("run=7", latest).unwrap_err().to_string();
        assert_eq!(
            error,
            "parameter `run`: `7` does not name a run: allowed is an id such as 12-9f3c0a1b, or `previous`"
        );
        let mut query = Query::parse(Some("base_run=previous"));
        of_run(&mut query, latest).unwrap();
        assert!(query.finish().is_err(), "one snapshot has no base");
    }
}
