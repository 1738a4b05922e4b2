//! Configuration and the worker's threads.

mod alerting;
mod answer_room;
mod aside;
mod asker;
mod comparison;
mod config;
#[cfg(feature = "cpu")]
mod cpu;
mod diff;
mod disk;
mod earlier;
mod environment;
mod evidence;
mod gauges;
mod growths;
mod host_gauges;
mod kept_sites;
mod leak_report;
mod lifetimes;
mod listen;
mod moment;
mod monitoring;
mod namer;
mod own;
mod places;
mod reader;
mod readings;
mod recording;
mod relocation;
mod render;
mod shared;
mod sight;
mod slow;
mod stacks;
mod status;
mod story;
mod threads;
mod view;
mod watch;
mod workers;

pub use config::{
    DEFAULT_ALERT_AFTER, DEFAULT_ALERT_THRESHOLD, DEFAULT_DEBUG_DIRS, DEFAULT_HISTORY, DEFAULT_HISTORY_BYTES,
    DEFAULT_LISTEN, DEFAULT_MAX_LIVE_SAMPLES, DEFAULT_MAX_STACKS, DEFAULT_MIN_INTERVAL, DEFAULT_POLL_INTERVAL,
    DEFAULT_PROFILES_BYTES, DEFAULT_PROFILES_COUNT, DEFAULT_PROFILES_DIR, DEFAULT_READINGS, DEFAULT_RSS_THRESHOLD,
    DEFAULT_SLOW_OPERATION, DEFAULT_SYMBOLIZE_HEADROOM, DEFAULT_TRIGGER_EVENTS, DEFAULT_TRIGGER_GROWTH,
    DEFAULT_TRIGGER_PREDICTION, DEFAULT_TRIGGER_PRESSURE,
};
pub use leak_report::{Evidence, LeakReport, LeakSuspect, LetGo};
pub use listen::Listen;

pub(crate) use answer_room::AnswerRoom;
pub(crate) use aside::Patience;
pub(crate) use asker::{Asker, Wanted};
pub(crate) use comparison::Comparison;
pub(crate) use config::{Config, ProfilesDir};
#[cfg(feature = "cpu")]
pub(crate) use cpu::CpuProfile;
pub(crate) use diff::{DiffReport, When};
pub(crate) use disk::{Disk, DiskFigures, RunOnDisk, SetAside, Survey, Unreadable};
pub(crate) use earlier::{EarlierHeap, EarlierHeaps, EarlierRun, EarlierRuns, EarlierSnapshot};
pub(crate) use environment::{apply as apply_environment, warn_of_unknown_variables};
pub(crate) use gauges::Gauges;
pub(crate) use host_gauges::HostGauge;
pub(crate) use kept_sites::KeptSites;
pub(crate) use moment::Moment;
pub(crate) use monitoring::{LARGE_PERCENT, Walk};
pub(crate) use namer::Namer;
pub(crate) use reader::Asked;
pub(crate) use readings::ProcessReading;
pub(crate) use recording::Recording;
pub(crate) use shared::{Heap, Shared, stopped};
pub(crate) use slow::{Operation, SlowOperation};
pub(crate) use stacks::Stacks;
pub(crate) use status::Status;
pub(crate) use story::Story;
pub(crate) use view::{Shown, View};
pub(crate) use workers::Workers;
