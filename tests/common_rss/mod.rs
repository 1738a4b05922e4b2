//! Where RSS goes, as the API tells it.
#![allow(dead_code)] // Each test uses a part of it.

use heapward::Profiler;
use serde_json::Value;

use crate::{common, common_http};

pub const MIB: u64 = 1 << 20;

/// The figures that sum up to RSS.
const PARTS: [&str; 9] = [
    "/live_heap_bytes",
    "/allocator_slack_bytes",
    "/allocator_dirty_bytes",
    "/allocator_metadata_bytes",
    "/not_heap/mapped_files_bytes",
    "/not_heap/shared_memory_bytes",
    "/not_heap/heapward_bytes",
    "/not_heap/other_bytes",
    "/unaccounted_bytes",
];

/// What the API says of RSS at one moment.
#[derive(Debug)]
pub struct Rss(pub Value);

impl Rss {
    /// At a snapshot that is taken for it.
    pub fn at_a_snapshot(profiler: &Profiler) -> Self {
        let id = common::snapshot(profiler).id;
        let entry = common_http::ask(&profiler.routes(), "GET", &format!("/api/snapshots/{id}")).expect(200).json();
        let list = common_http::ask(&profiler.routes(), "GET", "/api/snapshots").expect(200).json();
        assert_eq!(list["snapshots"].as_array().unwrap().last().unwrap()["rss"], entry["rss"]);
        assert_eq!(entry["rss"]["rss_bytes"], entry["rss_bytes"]);
        Self(entry["rss"].clone()).checked()
    }

    /// At the last reading.
    pub fn now(profiler: &Profiler) -> Self {
        let memory = common_http::ask(&profiler.routes(), "GET", "/api/memory").expect(200).json();
        Self(memory["rss"].clone()).checked()
    }

    fn checked(self) -> Self {
        let sum: u64 = PARTS.iter().map(|part| self.bytes(part)).sum();
        assert_eq!(sum, self.bytes("/rss_bytes"), "the parts sum up to RSS: {self:#?}");
        self
    }

    #[track_caller]
    pub fn bytes(&self, pointer: &str) -> u64 {
        let value = self.0.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing in {self:#?}"));
        value.as_u64().unwrap_or_else(|| panic!("{pointer} is {value} in {self:#?}"))
    }

    pub fn verdict(&self) -> &str {
        self.0["verdict"].as_str().expect("a word")
    }

    pub fn why(&self) -> &str {
        self.0["why"].as_str().expect("sentences")
    }

    /// By how much a part grew since `earlier`; 0 when it shrank.
    #[track_caller]
    pub fn growth(&self, earlier: &Self, pointer: &str) -> u64 {
        self.bytes(pointer).saturating_sub(earlier.bytes(pointer))
    }
}
