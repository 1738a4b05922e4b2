//! What a test sees of the profiler.

use std::io::Read;

use flate2::read::GzDecoder;
use heapward::{Builder, ByteSize, ErrorKind, Profiler, SnapshotInfo};
use http_body_util::BodyExt as _;
use pprof::protos::{self, Message as _};
use serde::Deserialize;
use tower_service::Service as _;

use super::failing::wait_until;

/// A profiler with room for all that a test allocates, and with no reason of its own to take a snapshot.
pub fn profiler() -> Builder {
    Profiler::builder()
        .listen("off")
        .rss_threshold(ByteSize::gib(1 << 20))
        .profiles_dir("off")
        .max_stacks(1 << 16)
        .max_live_samples(1 << 20)
}

/// A snapshot, if one may be had now.
pub fn try_snapshot(profiler: &Profiler) -> Option<SnapshotInfo> {
    match profiler.snapshot() {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
            None
        }
    }
}

/// A snapshot, as soon as one may be had.
pub fn snapshot(profiler: &Profiler) -> SnapshotInfo {
    let mut taken = None;
    wait_until("waiting for a snapshot", || {
        taken = try_snapshot(profiler);
        taken.is_some()
    });
    taken.expect("waited for it")
}

/// The collector's own figures: a part of `GET /api/memory`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Figures {
    pub samples: u64,
    pub live_samples: u64,
    pub dropped_samples: u64,
    pub dropped_stacks: u64,
    pub unknown_frees: u64,
}

/// The figures now.
pub fn figures(profiler: &Profiler) -> Figures {
    serde_json::from_value(memory(profiler)["collector"].take()).expect("the collector's figures")
}

/// `GET /api/memory`
pub fn memory(profiler: &Profiler) -> serde_json::Value {
    let request =
        http::Request::get("/api/memory").body(http_body_util::Empty::<bytes::Bytes>::new()).expect("a request");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let body = runtime.block_on(async {
        let Ok(response) = profiler.routes().service().call(request).await;
        let Ok(body) = response.into_body().collect().await;
        body.to_bytes()
    });
    serde_json::from_slice(&body).expect("the memory report")
}

/// A profile as its reader sees it.
pub fn decode(gzipped: &[u8]) -> protos::Profile {
    let mut bytes = Vec::new();
    GzDecoder::new(gzipped).read_to_end(&mut bytes).expect("gzip");
    protos::Profile::decode(bytes.as_slice()).expect("profile.proto")
}

/// The names of the functions of a location, innermost first.
pub fn function_names<'p>(
    profile: &'p protos::Profile,
    location: &'p protos::Location,
) -> impl Iterator<Item = &'p str> {
    location.line.iter().filter_map(|line| {
        let function = profile.function.iter().find(|function| function.id == line.function_id)?;
        profile.string_table.get(usize::try_from(function.name).ok()?).map(String::as_str)
    })
}
