//! Earlier runs, their snapshots, and the disk, as JSON.

use serde::Serialize;

use super::memory::Memory;
use super::noted::{NotedEpisode, NotedReading};
use super::time;
use crate::analysis::Amount;
use crate::profiler::{DiskFigures, EarlierRun, EarlierSnapshot, RunOnDisk, SetAside, Shared, Survey, Unreadable};
use crate::snapshot::RunState;

/// `GET /api/runs`
#[derive(Serialize)]
pub(in crate::http) struct RunList {
    /// Where snapshots are written.
    folder: String,
    /// What this run is called there; `null` before anything was written.
    run: Option<String>,
    /// What `?run=previous` means.
    previous: Option<String>,
    /// The oldest first, this one excepted.
    runs: Vec<RunEntry>,
    /// Records that a newer heapward wrote and this one cannot read: they are left where they are.
    unreadable: Vec<FileEntry>,
    /// Files that could not be read, and why.
    set_aside: Vec<FileEntry>,
    /// Why snapshots cannot be written at the moment.
    error: Option<String>,
}

/// A run that left something.
#[derive(Serialize)]
pub(in crate::http) struct RunEntry {
    run: String,
    ended: Ended,
    /// The program's file, its build id and its process id; these and what follows are `null` where no record can be read.
    program: Option<String>,
    build_id: Option<String>,
    pid: Option<u32>,
    heapward_version: Option<String>,
    started: Option<String>,
    /// When it noted its last reading.
    last_noted: Option<String>,
    /// That reading.
    last_reading: Option<Memory>,
    /// Its last 100 polls, oldest first; empty where no record can be read, and of a heapward that did not note them.
    last_readings: Vec<NotedReading>,
    /// Its last 20 rises of RSS, oldest first.
    episodes: Vec<NotedEpisode>,
    /// Snapshots of it that are on disk.
    snapshots: usize,
    bytes: u64,
    /// The last of these; by its name.
    last_snapshot: Option<LastSnapshot>,
}

#[derive(Serialize)]
struct Ended {
    /// One of `running`, `clean`, `panic`, `killed_for_memory`, `reboot`, `not_clean`, `unknown`.
    how: &'static str,
    /// `sure` or `likely`.
    certainty: &'static str,
    /// A sentence.
    why: String,
}

#[derive(Serialize)]
struct LastSnapshot {
    id: u64,
    time: String,
    reason: String,
    rss_bytes: u64,
}

#[derive(Serialize)]
struct FileEntry {
    file: String,
    reason: Option<String>,
}

impl RunList {
    pub(in crate::http) fn of(survey: Option<Survey>, shared: &Shared) -> Self {
        let disk = shared.disk();
        let previous = survey.as_ref().and_then(Survey::previous).map(|run| run.id.to_string());
        let survey = survey.unwrap_or_default();
        let set_aside = |SetAside { file, reason }| FileEntry { file, reason };
        Self {
            folder: disk.folder().map_or(String::new(), |folder| folder.display().to_string()),
            run: disk.run().map(|run| run.to_string()),
            previous,
            runs: survey.runs.into_iter().map(RunEntry::of).collect(),
            unreadable: FileEntry::of_all(survey.unreadable),
            set_aside: survey.set_aside.into_iter().map(set_aside).collect(),
            error: disk.error(),
        }
    }
}

impl FileEntry {
    fn of_all(files: Vec<Unreadable>) -> Vec<Self> {
        files.into_iter().map(|Unreadable { file, reason }| Self { file, reason: Some(reason) }).collect()
    }
}

impl RunEntry {
    fn of(run: RunOnDisk) -> Self {
        let ended = Ended { how: run.end.how.name(), certainty: run.end.certainty.name(), why: run.end.why };
        let last = run.files.last().map(|file| LastSnapshot {
            id: file.name.id,
            time: time(file.name.time()),
            reason: file.name.reason.as_str().to_owned(),
            rss_bytes: file.name.rss,
        });
        let (facts, record, readings, episodes) = match run.state {
            Some(RunState { facts, record, readings, episodes, end: _ }) => (Some(facts), record, readings, episodes),
            None => (None, None, Vec::new(), Vec::new()),
        };
        Self {
            run: run.id.to_string(),
            ended,
            started: facts.as_ref().map(|facts| time(facts.started)),
            build_id: facts.as_ref().and_then(|facts| facts.build_id.as_ref()).map(ToString::to_string),
            pid: facts.as_ref().map(|facts| facts.pid),
            heapward_version: facts.as_ref().map(|facts| facts.version.clone()),
            program: facts.map(|facts| facts.program),
            last_noted: record.map(|record| time(record.time)),
            last_reading: record.and_then(|record| record.reading).as_ref().map(Memory::of),
            last_readings: readings.iter().map(NotedReading::of).collect(),
            episodes: episodes.iter().map(NotedEpisode::of).collect(),
            snapshots: run.files.len(),
            bytes: run.files.iter().map(|file| file.bytes).sum(),
            last_snapshot: last,
        }
    }
}

/// `GET /api/snapshots?run=…`
#[derive(Serialize)]
pub(in crate::http) struct EarlierList {
    run: RunEntry,
    snapshots: Vec<EarlierEntry>,
    /// Snapshots that a newer heapward wrote and this one cannot read.
    unreadable: Vec<FileEntry>,
    /// The first that is kept.
    baseline: Option<u64>,
    /// The one with the highest RSS.
    peak: Option<u64>,
}

/// One snapshot of an earlier run: an element of that, and `GET /api/snapshots/{id}?run=…`.
#[derive(Serialize)]
pub(in crate::http) struct EarlierEntry {
    run: String,
    id: u64,
    time: String,
    reason: String,
    why: String,
    rss_bytes: u64,
    live_bytes: u64,
    live_bytes_low: u64,
    live_bytes_high: u64,
    live_objects: u64,
    live_objects_low: u64,
    live_objects_high: u64,
    sampled_objects: u64,
    /// Of `live_bytes`, what is in objects of less than 16 KiB.
    small_live_bytes: u64,
    /// Ever allocated until then; estimates.
    allocated_bytes: u64,
    allocated_objects: u64,
    /// Estimate of what heapward's own tables took.
    tables_bytes: u64,
    stacks: u64,
    epoch: u32,
    /// The rise that it belongs to, by its number in that run.
    episode: Option<u64>,
    duration_seconds: f64,
    partial: Option<String>,
    dropped_samples: u64,
    memory: Memory,
    program: String,
    build_id: Option<String>,
    heapward_version: String,
    sample_interval_bytes: u64,
    file: String,
    file_bytes: u64,
}

impl EarlierList {
    pub(in crate::http) fn of(run: EarlierRun) -> Self {
        let EarlierRun { run, snapshots, unreadable } = run;
        let highest = snapshots.iter().rev().max_by_key(|snapshot| snapshot.head.reading.process.rss);
        Self {
            run: RunEntry::of(run),
            unreadable: FileEntry::of_all(unreadable),
            baseline: snapshots.first().map(|snapshot| snapshot.head.id),
            peak: highest.map(|snapshot| snapshot.head.id),
            snapshots: snapshots.into_iter().map(EarlierEntry::of).collect(),
        }
    }
}

impl EarlierEntry {
    pub(in crate::http) fn of(snapshot: EarlierSnapshot) -> Self {
        let EarlierSnapshot { head, file, bytes } = snapshot;
        let live = Amount::of(&head.live);
        let round = |figure: f64| figure.round() as u64;
        Self {
            run: head.text.run.to_string(),
            id: head.id,
            time: time(head.time),
            rss_bytes: head.reading.process.rss,
            live_bytes: round(head.live.estimated_bytes),
            live_bytes_low: round(live.bytes.low),
            live_bytes_high: round(live.bytes.high),
            live_objects: round(head.live.estimated_objects),
            live_objects_low: round(live.objects.low),
            live_objects_high: round(live.objects.high),
            sampled_objects: head.live.objects,
            small_live_bytes: round(head.small.estimated_bytes),
            allocated_bytes: head.allocated.estimated_bytes,
            allocated_objects: head.allocated.estimated_objects,
            tables_bytes: head.tables_bytes,
            stacks: head.stacks,
            epoch: head.epoch,
            episode: head.episode,
            duration_seconds: head.duration.as_secs_f64(),
            partial: head.partial.map(|partial| partial.to_string()),
            dropped_samples: head.gaps.dropped_objects,
            memory: Memory::of(&head.reading),
            build_id: head.text.build_id.as_ref().map(ToString::to_string),
            program: head.text.program,
            sample_interval_bytes: head.text.sample_interval,
            heapward_version: head.version,
            reason: head.reason,
            why: head.why,
            file,
            file_bytes: bytes,
        }
    }
}

/// A part of `GET /api/memory`.
#[derive(Serialize)]
pub(super) struct DiskReport {
    folder: String,
    run: Option<String>,
    writes: u64,
    write_failures: u64,
    /// That the ring gave up before they could be written, or still had when heapward ended.
    skipped: u64,
    /// On disk, of this run and of ended ones.
    snapshots: u64,
    bytes: u64,
    removed: u64,
    set_aside: u64,
    /// Of these, removed to keep within the bounds for them.
    set_aside_removed: u64,
    last_write_time: Option<String>,
    failing: bool,
    error: Option<String>,
}

impl DiskReport {
    /// `None` where nothing is to be written.
    pub(super) fn of(shared: &Shared) -> Option<Self> {
        let disk = shared.disk();
        let folder = disk.folder()?.display().to_string();
        let figures = disk.figures();
        let DiskFigures {
            writes,
            failures,
            skipped,
            removed,
            set_aside,
            set_aside_removed,
            snapshots,
            bytes,
            last_write,
            is_failing,
        } = figures;
        Some(Self {
            folder,
            run: disk.run().map(|run| run.to_string()),
            writes,
            write_failures: failures,
            skipped,
            snapshots,
            bytes,
            removed,
            set_aside,
            set_aside_removed,
            last_write_time: last_write.map(time),
            failing: is_failing,
            error: disk.error(),
        })
    }
}
