//! Everything that can be set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Profiler;
use crate::alerts::Target;
use crate::collect::Unwinder;
use crate::error::{Error, Result};
use crate::policy::{Growth, Symbolize, Threshold};
use crate::profile::ByteSize;
use crate::profiler::{Config, HostGauge, Listen, ProfilesDir, apply_environment};

/// Sets the profiler up; [`Builder::start`] checks all of it and starts.
///
/// A `HEAPWARD_*` variable that is set wins over what is set here.
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    config: Config,
    /// The setters whose value cannot be used, with their variables; the first is told at start.
    refused: Vec<(&'static str, Error)>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { config: Config::default(), refused: Vec::new() }
    }

    /// RSS above which snapshots are taken: bytes, or a share of the memory limit.
    /// Default [`DEFAULT_RSS_THRESHOLD`](crate::DEFAULT_RSS_THRESHOLD); variable `HEAPWARD_RSS_THRESHOLD`.
    pub fn rss_threshold(mut self, threshold: impl Into<Threshold>) -> Self {
        self.config.rss_threshold = threshold.into();
        self
    }

    /// Also takes snapshots when RSS has grown so much since the last one, on two readings in a row: by bytes, or by a share of
    /// what it was. `None` switches that off.
    /// Default [`DEFAULT_TRIGGER_GROWTH`](crate::DEFAULT_TRIGGER_GROWTH); variable `HEAPWARD_TRIGGER_GROWTH`: `20%`, `256MiB`
    /// or `off`.
    pub fn trigger_growth(mut self, growth: impl Into<Option<Growth>>) -> Self {
        self.config.rules.growth = growth.into();
        self
    }

    /// Also takes snapshots when memory use rises such that it would reach the limit within `horizon`. `None` switches that
    /// off. Default [`DEFAULT_TRIGGER_PREDICTION`](crate::DEFAULT_TRIGGER_PREDICTION); variable
    /// `HEAPWARD_TRIGGER_PREDICTION`, which also takes `off`.
    pub fn trigger_prediction(mut self, horizon: impl Into<Option<Duration>>) -> Self {
        self.config.rules.prediction = horizon.into();
        self
    }

    /// Also takes snapshots when some task waited for memory (PSI, `some avg10`) for more than so many percent of the time:
    /// in the control group where cgroup v2 tells that, else on the machine. `None` switches that off.
    /// Default [`DEFAULT_TRIGGER_PRESSURE`](crate::DEFAULT_TRIGGER_PRESSURE); variable `HEAPWARD_TRIGGER_PRESSURE`: `10%` or
    /// `off`.
    pub fn trigger_pressure(mut self, percent: impl Into<Option<f64>>) -> Self {
        self.config.rules.pressure = percent.into();
        self
    }

    /// Whether snapshots are also taken when the kernel counted `high`, `oom` or `oom_kill` of the memory control group
    /// (cgroup v1: `oom_kill` alone).
    /// Default [`DEFAULT_TRIGGER_EVENTS`](crate::DEFAULT_TRIGGER_EVENTS); variable `HEAPWARD_TRIGGER_EVENTS`.
    pub fn trigger_events(mut self, is_on: bool) -> Self {
        self.config.rules.events = is_on;
        self
    }

    /// Also takes snapshots when a gauge of the service's own stands above `above` on two readings in a row; 16 gauges at
    /// most. `name` is of `a` to `z`, `0` to `9` and `_`.
    ///
    /// `read` is called at every poll, on the watcher's thread: it must be quick, as nothing is polled while it runs. One that
    /// takes longer than 50 ms is told in the log and in `/api/memory`; one that panics counts as unknown, as do `None` and
    /// NaN.
    ///
    /// ```no_run
    /// # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// static QUEUED: AtomicU64 = AtomicU64::new(0);
    /// # fn main() -> Result<(), heapward::Error> {
    /// let _profiler = heapward::Profiler::builder()
    ///     .trigger_on_gauge("queue_bytes", 64e6, || Some(QUEUED.load(Relaxed) as f64))
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trigger_on_gauge(
        mut self,
        name: &'static str,
        above: f64,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        self.config.gauges.push(HostGauge::new(name, above, read));
        self
    }

    /// Least time between two triggered snapshots.
    /// Default [`DEFAULT_MIN_INTERVAL`](crate::DEFAULT_MIN_INTERVAL); variable `HEAPWARD_MIN_INTERVAL`.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.config.min_interval = interval;
        self
    }

    /// Time between two readings.
    /// Default [`DEFAULT_POLL_INTERVAL`](crate::DEFAULT_POLL_INTERVAL); variable `HEAPWARD_POLL_INTERVAL`.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.config.poll_interval = interval;
        self
    }

    /// How many snapshots the ring keeps, beside the baseline and the peak.
    /// Default [`DEFAULT_HISTORY`](crate::DEFAULT_HISTORY); variable `HEAPWARD_HISTORY`.
    pub fn history(mut self, snapshots: usize) -> Self {
        self.config.retention.count = snapshots;
        self
    }

    /// How much memory the ring's snapshots may take; the newest is kept whatever its size.
    /// Default [`DEFAULT_HISTORY_BYTES`](crate::DEFAULT_HISTORY_BYTES); variable `HEAPWARD_HISTORY_BYTES`.
    pub fn history_bytes(mut self, bytes: ByteSize) -> Self {
        self.config.retention.bytes = usize::try_from(bytes.as_u64()).unwrap_or(usize::MAX);
        self
    }

    /// Where the server listens: `IP:PORT`, `localhost:PORT`, `unix:/path` or `off`.
    /// Default [`DEFAULT_LISTEN`](crate::DEFAULT_LISTEN); variable `HEAPWARD_LISTEN`.
    pub fn listen(mut self, address: &str) -> Self {
        match address.parse::<Listen>() {
            Ok(listen) => self.config.listen = listen,
            Err(error) => {
                self.refuse("HEAPWARD_LISTEN", Error::config(format!("listen (HEAPWARD_LISTEN): {error}")));
            }
        }
        self
    }

    /// What a request must carry, as `Authorization: Bearer` or as the password of Basic. Needed to listen on
    /// anything but loopback. Default none; variable `HEAPWARD_TOKEN`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.config.token = Some(token.into());
        self
    }

    /// Folder for snapshots, or `off`. One that is named must be there or be possible to make, and be writable; it must not be
    /// a symbolic link. Default [`DEFAULT_PROFILES_DIR`](crate::DEFAULT_PROFILES_DIR), made with the first snapshot; variable
    /// `HEAPWARD_PROFILES_DIR`.
    pub fn profiles_dir(mut self, folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref();
        let is_off = folder == Path::new("off");
        self.config.profiles_dir = if is_off { ProfilesDir::Off } else { ProfilesDir::Named(folder.to_owned()) };
        self
    }

    /// How many snapshots are kept on disk, beside the baseline and the peak of this run and the first, the highest and the last
    /// of the previous one. Default [`DEFAULT_PROFILES_COUNT`](crate::DEFAULT_PROFILES_COUNT); variable `HEAPWARD_PROFILES_COUNT`.
    pub fn profiles_count(mut self, snapshots: usize) -> Self {
        self.config.disk_retention.count = snapshots;
        self
    }

    /// How many bytes the snapshots on disk may take; the newest is kept whatever it takes.
    /// Default [`DEFAULT_PROFILES_BYTES`](crate::DEFAULT_PROFILES_BYTES); variable `HEAPWARD_PROFILES_BYTES`.
    pub fn profiles_bytes(mut self, bytes: ByteSize) -> Self {
        self.config.disk_retention.bytes = bytes.as_u64();
        self
    }

    /// How many distinct stacks are told apart; samples of any more count without their frames.
    /// Address space is reserved for them at start. Default [`DEFAULT_MAX_STACKS`](crate::DEFAULT_MAX_STACKS);
    /// variable `HEAPWARD_MAX_STACKS`.
    pub fn max_stacks(mut self, stacks: usize) -> Self {
        self.config.limits.stacks = stacks;
        self
    }

    /// How many sampled objects can be alive at once, about; any more are dropped and counted.
    /// Default [`DEFAULT_MAX_LIVE_SAMPLES`](crate::DEFAULT_MAX_LIVE_SAMPLES); variable `HEAPWARD_MAX_LIVE_SAMPLES`.
    pub fn max_live_samples(mut self, samples: usize) -> Self {
        self.config.limits.live_objects = samples;
        self
    }

    /// What walks the stacks of samples. One that does not work in this program is replaced by the next that does.
    /// Default [`Unwinder::Auto`]; variable `HEAPWARD_UNWINDER`: `auto`, `frame_pointers`, `eh_frame` or `jemalloc`.
    pub fn unwinder(mut self, unwinder: Unwinder) -> Self {
        self.config.unwinder = unwinder;
        self
    }

    /// Whether jemalloc's own dumps (`prof.dump`, and what reads them) tell stacks. Otherwise jemalloc is told that all are one
    /// frame, `heapward_keeps_the_stacks`, which spares it the work, the memory and a lock of all threads. It gets them
    /// anyway where it sampled before heapward did, where it keeps a record of recent allocations
    /// (`prof_recent_alloc_max`), and while heapward does not sample.
    /// Default `false`; variable `HEAPWARD_JEMALLOC_STACKS`.
    pub fn jemalloc_stacks(mut self, on: bool) -> Self {
        self.config.jemalloc_stacks = on;
        self
    }

    /// When names are looked up for the addresses of a profile.
    /// Default [`Symbolize::Auto`]; variable `HEAPWARD_SYMBOLIZE`: `auto`, `never` or `always`.
    pub fn symbolize(mut self, symbolize: Symbolize) -> Self {
        self.config.symbolize = symbolize;
        self
    }

    /// Headroom to the memory limit below which [`Symbolize::Auto`] looks no names up. The few addresses that an alert names want
    /// a sixteenth of it. Default [`DEFAULT_SYMBOLIZE_HEADROOM`](crate::DEFAULT_SYMBOLIZE_HEADROOM); variable `HEAPWARD_SYMBOLIZE_HEADROOM`.
    pub fn symbolize_headroom(mut self, headroom: ByteSize) -> Self {
        self.config.symbolize_headroom = headroom;
        self
    }

    /// Folders that hold the debug information of stripped files, by build id (`.build-id/ab/cdef….debug`) or below the
    /// path of the file. Absolute paths; none is allowed. Default [`DEFAULT_DEBUG_DIRS`](crate::DEFAULT_DEBUG_DIRS);
    /// variable `HEAPWARD_DEBUG_DIRS`, with a colon between two.
    pub fn debug_dirs<P: Into<PathBuf>>(mut self, folders: impl IntoIterator<Item = P>) -> Self {
        self.config.debug_dirs = folders.into_iter().map(Into::into).collect();
        self
    }

    /// How many readings of this process' RSS and CPU time are kept, one a poll: for `/api/monitoring/hotspots` and its
    /// trends. Default [`DEFAULT_READINGS`](crate::DEFAULT_READINGS); variable `HEAPWARD_READINGS`.
    pub fn readings(mut self, readings: usize) -> Self {
        self.config.readings = readings;
        self
    }

    /// What of heapward's own takes longer than this is kept for `/api/monitoring/hotspots`, and counted. Default
    /// [`DEFAULT_SLOW_OPERATION`](crate::DEFAULT_SLOW_OPERATION); variable `HEAPWARD_SLOW_OPERATION_MS`, in milliseconds.
    pub fn slow_operation(mut self, threshold: Duration) -> Self {
        self.config.slow_operation = threshold;
        self
    }

    /// Memory use above which there is an alert: bytes, or a share of the memory limit, which is that of the control group or
    /// else all memory of the machine. What counts is the higher one of RSS and what a control group with a limit uses.
    /// Default [`DEFAULT_ALERT_THRESHOLD`](crate::DEFAULT_ALERT_THRESHOLD); variable `HEAPWARD_ALERT_THRESHOLD`, which also
    /// takes `off`.
    pub fn alert_threshold(mut self, threshold: impl Into<Threshold>) -> Self {
        self.config.alerts.threshold = Some(threshold.into());
        self
    }

    /// How many readings in a row must be above the threshold before there is an alert, and as many well below it before it
    /// is over: five points of the limit, or a tenth of the threshold if that is less.
    /// Default [`DEFAULT_ALERT_AFTER`](crate::DEFAULT_ALERT_AFTER); variable `HEAPWARD_ALERT_AFTER`.
    pub fn alert_after(mut self, readings: u32) -> Self {
        self.config.alerts.after = readings;
        self
    }

    /// Where each change of an alert is posted as JSON, see [`Alert`](crate::Alert): `http://[user:password@]host[:port]/path`.
    /// Default nowhere; variable `HEAPWARD_ALERT_WEBHOOK`, which also takes `off`.
    pub fn alert_webhook(mut self, url: &str) -> Self {
        self.config.alerts.webhook = self.target("alert_webhook", "HEAPWARD_ALERT_WEBHOOK", url);
        self
    }

    /// An Alertmanager, whose API v2 gets alerts: `http://[user:password@]host:port`.
    /// Default none; variable `HEAPWARD_ALERTMANAGER`, which also takes `off`.
    pub fn alertmanager(mut self, url: &str) -> Self {
        self.config.alerts.alertmanager = self.target("alertmanager", "HEAPWARD_ALERTMANAGER", url);
        self
    }

    /// A label of all alerts, beside `job` (the program's name) and `instance` (the machine's, with a port), or instead of
    /// one of these. Variable `HEAPWARD_ALERT_LABELS`: `name=value`, with a comma between two.
    pub fn alert_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.alerts.labels.insert(name.into(), value.into());
        self
    }

    fn target(&mut self, setter: &str, variable: &'static str, url: &str) -> Option<Target> {
        let target = url.parse::<Target>();
        target.inspect_err(|error| self.refuse(variable, Error::config(format!("{setter} ({variable}): {error}")))).ok()
    }

    fn refuse(&mut self, variable: &'static str, error: Error) {
        self.refused.push((variable, error));
    }

    /// Starts the profiler.
    ///
    /// # Errors
    ///
    /// A setting that is not allowed, a jemalloc that cannot be profiled, an address that is taken, a folder that
    /// cannot be written to, a profiler that runs already. The message names the setting and the fix, nothing of
    /// heapward is left running, and the service goes on.
    pub fn start(self) -> Result<Profiler> {
        self.start_with(&|variable| std::env::var_os(variable).map(|text| text.to_string_lossy().into_owned()))
    }

    pub(super) fn start_with(mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Profiler> {
        apply_environment(&mut self.config, lookup)?;
        if !self.config.enabled {
            // Whoever switches it off need not put right what else is set.
            return Ok(Profiler::disabled());
        }
        // A variable wins over the code, also over what is wrong there.
        if let Some((_, error)) = self.refused.into_iter().find(|(variable, _)| lookup(variable).is_none()) {
            return Err(error);
        }
        Profiler::launch(self.config.validated()?)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the token.
        f.debug_struct("Builder").field("listen", &self.config.listen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_wins_over_what_the_code_has_wrong() {
        let start = |variable: &'static str, value: &'static str| {
            let builder = Builder::new().alert_webhook("https://secret@host").listen("nowhere");
            // Refused in any case, so that nothing is started.
            let lookup = move |name: &str| match name {
                "HEAPWARD_ALERT_AFTER" => Some("0".to_owned()),
                name => (name == variable).then(|| value.to_owned()),
            };
            builder.start_with(&lookup).unwrap_err().to_string()
        };
        let first = start("HEAPWARD_LISTEN", "off");
        assert!(first.starts_with("alert_webhook (HEAPWARD_ALERT_WEBHOOK): ") && first.contains("TLS"), "{first}");
        assert!(!first.contains("secret"), "{first}");
        assert!(start("HEAPWARD_ALERT_WEBHOOK", "off").starts_with("listen (HEAPWARD_LISTEN): "));
        assert!(start("HEAPWARD_ALERT_WEBHOOK", "banana").starts_with("HEAPWARD_ALERT_WEBHOOK: `banana`"));
    }
}
