//! Earlier runs: what they left, and which of two runs a request means.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::answer::{self, Answer};
use super::json::{EarlierEntry, EarlierList, RunList};
use super::query::Query;
use super::render::render;
use crate::error::{Error, ErrorKind, Result};
use crate::profiler::{Heap, Shared};
use crate::snapshot::{RunSelector, Selector};

/// `GET /api/runs`
pub(super) async fn list(shared: &Arc<Shared>, parts: &Parts) -> Result<Answer> {
    Query::parse(parts.uri.query()).finish()?;
    render(shared, |shared, _| {
        let survey = match shared.survey() {
            Ok((_, survey)) => Some(survey),
            // No folder yet, or switched off: nothing is there.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        answer::capped_json(&RunList::of(survey, shared), "remove runs from the folder")
    })
    .await
}

/// `GET /api/snapshots?run=…`
pub(super) async fn snapshots(shared: &Arc<Shared>, run: RunSelector) -> Result<Answer> {
    render(shared, move |shared, _| {
        let (run, snapshots) = shared.earlier_run(run)?;
        answer::capped_json(&EarlierList::of(run, snapshots), "ask for one snapshot, by its id")
    })
    .await
}

/// `GET /api/snapshots/{id}?run=…`
pub(super) async fn snapshot(shared: &Arc<Shared>, run: RunSelector, selector: Selector) -> Result<Answer> {
    render(shared, move |shared, _| {
        let snapshot = shared.earlier_snapshot(run, selector)?;
        Ok(answer::json(StatusCode::OK, &EarlierEntry::of(snapshot)))
    })
    .await
}

/// What `heap` is where the query names a `run`.
pub(super) fn of_run(query: &mut Query, heap: impl Into<Heap>) -> Result<Heap> {
    of_runs(query, None, heap).map(|(_, heap)| heap)
}

/// What `base` and `later` are: `run` is that of both, and `base_run`, where it is given, that of the base.
pub(super) fn of_runs(
    query: &mut Query,
    base: Option<Selector>,
    later: impl Into<Heap>,
) -> Result<(Option<Heap>, Heap)> {
    let run: Option<RunSelector> = query.parsed("run")?;
    let base_run = if base.is_some() { query.parsed("base_run")?.or(run) } else { None };
    let in_run = |heap: Heap, run: Option<RunSelector>| match (heap, run) {
        (heap, None) => Ok(heap),
        (Heap::Kept(selector), Some(run)) => Ok(Heap::Earlier(run, selector)),
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
        let check = |query: &str, later: Heap| {
            let mut query = Query::parse(Some(query));
            let found = of_runs(&mut query, Some(Selector::Baseline), later)?;
            query.finish()?;
            Ok::<_, Error>(found)
        };
        let earlier = |run: &str, selector| Heap::Earlier(run.parse().unwrap(), selector);
        let latest = Heap::Kept(Selector::Latest);
        let (base, previous) = (Selector::Baseline, "previous");
        assert_eq!(check("", latest).unwrap(), (Some(Heap::Kept(base)), latest));
        assert_eq!(
            check("run=previous", latest).unwrap(),
            (Some(earlier(previous, base)), earlier(previous, Selector::Latest))
        );
        assert_eq!(check("base_run=previous", latest).unwrap(), (Some(earlier(previous, base)), latest));
        assert_eq!(check("base_run=previous", Heap::Live).unwrap(), (Some(earlier(previous, base)), Heap::Live));
        assert_eq!(
            check("base_run=1-0000000a&run=2-0000000b", latest).unwrap(),
            (Some(earlier("1-0000000a", base)), earlier("2-0000000b", Selector::Latest))
        );
        assert!(check("run=previous", Heap::Live).unwrap_err().to_string().contains("the live heap is of this run"));
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
