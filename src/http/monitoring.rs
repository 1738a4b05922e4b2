//! `/api/monitoring/*`: each one answer in one documented form, for whoever has a monitoring system of his own.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::answer::{self, Answer};
use super::json::{DetailedMetrics, Hotspots, MemoryLeaks};
use super::query::Query;
use super::render::render_as;
use crate::error::Result;
use crate::profiler::{Asker, Operation, Shared};

/// Sites that can be asked for of each snapshot.
const MOST_SITES: usize = 100;

/// Sites where nobody says how many.
const SITES: usize = 10;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Monitored {
    DetailedMetrics,
    Hotspots,
    MemoryLeaks,
}

impl Monitored {
    /// By the last part of its path.
    pub(super) fn find(name: &str) -> Option<Self> {
        match name {
            "detailed-metrics" => Some(Self::DetailedMetrics),
            "hotspots" => Some(Self::Hotspots),
            "memory-leaks" => Some(Self::MemoryLeaks),
            _ => None,
        }
    }

    /// What its answers look like, as JSON Schema (2020-12).
    fn schema(self) -> &'static str {
        match self {
            Self::DetailedMetrics => include_str!("schemas/detailed-metrics.json"),
            Self::Hotspots => include_str!("schemas/hotspots.json"),
            Self::MemoryLeaks => include_str!("schemas/memory-leaks.json"),
        }
    }
}

/// By the renderer: all of them name sites or walk through all processes.
pub(super) async fn answer(shared: &Arc<Shared>, parts: &Parts, what: Monitored) -> Result<Answer> {
    let mut query = Query::parse(parts.uri.query());
    let sites = match what {
        Monitored::DetailedMetrics => 0,
        Monitored::Hotspots | Monitored::MemoryLeaks => query.number("n", 1..=MOST_SITES, SITES)?,
    };
    query.finish()?;
    let asker = Asker::new();
    let wanted = asker.wanted();
    let advice = "ask for fewer sites, with a smaller `n`";
    let answer = render_as(Operation::Monitoring, shared, move |shared, namer| match what {
        Monitored::DetailedMetrics => Ok(answer::json(StatusCode::OK, &DetailedMetrics::of(shared))),
        Monitored::Hotspots => answer::capped_json(&Hotspots::of(shared, namer, sites)?, advice),
        Monitored::MemoryLeaks => answer::capped_json(&MemoryLeaks::of(shared, namer, &wanted, sites)?, advice),
    })
    .await;
    // Who left before dropped it with this future.
    drop(asker);
    answer
}

/// What the answers look like.
pub(super) fn schema(what: Monitored) -> Answer {
    answer::with_body(StatusCode::OK, "application/schema+json", what.schema())
}
