//! The settings, with their defaults and what is allowed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Listen;
use super::host_gauges::{self, HostGauge};
use crate::alerts::{AlertSettings, Labels};
use crate::collect::{Limits, Unwinder};
use crate::error::{Error, Result};
use crate::policy::{DiskRetention, Growth, Retention, Rules, Symbolize, Threshold};
use crate::profile::ByteSize;

/// RSS above which snapshots are taken: [`Builder::rss_threshold`](crate::Builder::rss_threshold).
pub const DEFAULT_RSS_THRESHOLD: ByteSize = ByteSize::mib(100);
/// Least time between two triggered snapshots: [`Builder::min_interval`](crate::Builder::min_interval).
pub const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Snapshots kept in the ring: [`Builder::history`](crate::Builder::history).
pub const DEFAULT_HISTORY: usize = 20;
/// Bytes of the snapshots in the ring: [`Builder::history_bytes`](crate::Builder::history_bytes).
pub const DEFAULT_HISTORY_BYTES: ByteSize = ByteSize::mib(64);
/// Time between two readings: [`Builder::poll_interval`](crate::Builder::poll_interval).
pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Where the server listens: [`Builder::listen`](crate::Builder::listen).
pub const DEFAULT_LISTEN: &str = "127.0.0.1:6060";
/// Folder for snapshots: [`Builder::profiles_dir`](crate::Builder::profiles_dir).
pub const DEFAULT_PROFILES_DIR: &str = "profiles";
/// Snapshots kept on disk: [`Builder::profiles_count`](crate::Builder::profiles_count).
pub const DEFAULT_PROFILES_COUNT: usize = 20;
/// Bytes of the snapshots on disk: [`Builder::profiles_bytes`](crate::Builder::profiles_bytes).
pub const DEFAULT_PROFILES_BYTES: ByteSize = ByteSize::mib(256);
/// Distinct stacks that are told apart: [`Builder::max_stacks`](crate::Builder::max_stacks).
pub const DEFAULT_MAX_STACKS: usize = 262_144;
/// Sampled objects alive at once: [`Builder::max_live_samples`](crate::Builder::max_live_samples).
pub const DEFAULT_MAX_LIVE_SAMPLES: usize = 524_288;
/// Headroom to the memory limit below which no names are looked up:
/// [`Builder::symbolize_headroom`](crate::Builder::symbolize_headroom).
pub const DEFAULT_SYMBOLIZE_HEADROOM: ByteSize = ByteSize::mib(256);
/// Memory use above which there is an alert: [`Builder::alert_threshold`](crate::Builder::alert_threshold).
pub const DEFAULT_ALERT_THRESHOLD: Threshold = Threshold::PercentOfLimit(85.0);
/// Readings in a row that make an alert, or end one: [`Builder::alert_after`](crate::Builder::alert_after).
pub const DEFAULT_ALERT_AFTER: u32 = 3;
/// Folder with separate debug files: [`Builder::debug_dirs`](crate::Builder::debug_dirs).
pub const DEFAULT_DEBUG_DIRS: &str = "/usr/lib/debug";
/// Growth of RSS since the last snapshot that asks for one: [`Builder::trigger_growth`](crate::Builder::trigger_growth).
///
/// None: RSS above the threshold gives a snapshot a minute as it is, and below that a service that starts up, or is idle
/// and has work again, grows by any share that one would choose.
pub const DEFAULT_TRIGGER_GROWTH: Option<Growth> = None;
/// How far ahead the limit is predicted: [`Builder::trigger_prediction`](crate::Builder::trigger_prediction).
pub const DEFAULT_TRIGGER_PREDICTION: Option<Duration> = Some(Duration::from_secs(600));
/// Memory pressure above which snapshots are taken, in percent:
/// [`Builder::trigger_pressure`](crate::Builder::trigger_pressure).
pub const DEFAULT_TRIGGER_PRESSURE: Option<f64> = Some(10.0);
/// Whether the kernel's count of trouble asks for snapshots: [`Builder::trigger_events`](crate::Builder::trigger_events).
pub const DEFAULT_TRIGGER_EVENTS: bool = true;

/// Readings of RSS and CPU that are kept: [`Builder::readings`](crate::Builder::readings).
pub const DEFAULT_READINGS: usize = 100;
/// What of heapward's own takes longer is told of: [`Builder::slow_operation`](crate::Builder::slow_operation).
pub const DEFAULT_SLOW_OPERATION: Duration = Duration::from_millis(50);

/// What each setting may be, where there is a range.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));
const MIN_INTERVAL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(7 * 86_400));
const TRIGGER_PREDICTION: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(7 * 86_400));
const HISTORY: (usize, usize) = (1, 1000);
const ALERT_AFTER: (u32, u32) = (1, 1000);
const PROFILES_COUNT: (usize, usize) = (1, 100_000);
const MAX_STACKS: (usize, usize) = (1024, 16 << 20);
const MAX_LIVE_SAMPLES: (usize, usize) = (1024, 64 << 20);
const READINGS: (usize, usize) = (2, 10_000);
const SLOW_OPERATION: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3600));

/// Where snapshots are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProfilesDir {
    /// [`DEFAULT_PROFILES_DIR`], made when something is written to it.
    Default,
    /// A folder that somebody named: made and tried at start.
    Named(PathBuf),
    /// Nowhere.
    Off,
}

/// The settings, all of them allowed.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) enabled: bool,
    pub(crate) rss_threshold: Threshold,
    pub(crate) rules: Rules,
    pub(crate) gauges: Vec<HostGauge>,
    pub(crate) min_interval: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) retention: Retention,
    pub(crate) listen: Listen,
    pub(crate) token: Option<String>,
    pub(crate) profiles_dir: ProfilesDir,
    pub(crate) disk_retention: DiskRetention,
    pub(crate) limits: Limits,
    pub(crate) use_hooks: bool,
    pub(crate) unwinder: Unwinder,
    pub(crate) jemalloc_stacks: bool,
    pub(crate) symbolize: Symbolize,
    pub(crate) symbolize_headroom: ByteSize,
    pub(crate) debug_dirs: Vec<PathBuf>,
    pub(crate) readings: usize,
    pub(crate) slow_operation: Duration,
    pub(crate) alerts: AlertSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            rss_threshold: DEFAULT_RSS_THRESHOLD.into(),
            rules: Rules {
                growth: DEFAULT_TRIGGER_GROWTH,
                prediction: DEFAULT_TRIGGER_PREDICTION,
                pressure: DEFAULT_TRIGGER_PRESSURE,
                events: DEFAULT_TRIGGER_EVENTS,
            },
            gauges: Vec::new(),
            min_interval: DEFAULT_MIN_INTERVAL,
            poll_interval: DEFAULT_POLL_INTERVAL,
            retention: Retention {
                count: DEFAULT_HISTORY,
                bytes: usize::try_from(DEFAULT_HISTORY_BYTES.as_u64()).unwrap_or(usize::MAX),
            },
            listen: Listen::Tcp(([127, 0, 0, 1], 6060).into()),
            token: None,
            profiles_dir: ProfilesDir::Default,
            disk_retention: DiskRetention { count: DEFAULT_PROFILES_COUNT, bytes: DEFAULT_PROFILES_BYTES.as_u64() },
            limits: Limits { stacks: DEFAULT_MAX_STACKS, live_objects: DEFAULT_MAX_LIVE_SAMPLES },
            use_hooks: true,
            unwinder: Unwinder::Auto,
            jemalloc_stacks: false,
            symbolize: Symbolize::Auto,
            symbolize_headroom: DEFAULT_SYMBOLIZE_HEADROOM,
            debug_dirs: vec![DEFAULT_DEBUG_DIRS.into()],
            readings: DEFAULT_READINGS,
            slow_operation: DEFAULT_SLOW_OPERATION,
            alerts: AlertSettings {
                threshold: Some(DEFAULT_ALERT_THRESHOLD),
                after: DEFAULT_ALERT_AFTER,
                webhook: None,
                alertmanager: None,
                labels: Labels::new(),
            },
        }
    }
}

impl Config {
    /// The settings, if each alone and all together are allowed.
    pub(crate) fn validated(mut self) -> Result<Self> {
        self.rss_threshold
            .validated()
            .map_err(|error| Error::config(format!("rss_threshold (HEAPWARD_RSS_THRESHOLD): {error}")))?;
        validated_rules(&self.rules)?;
        host_gauges::validated(&self.gauges)?;
        within("poll_interval (HEAPWARD_POLL_INTERVAL)", Seconds(self.poll_interval), POLL_INTERVAL, Seconds)?;
        within("min_interval (HEAPWARD_MIN_INTERVAL)", Seconds(self.min_interval), MIN_INTERVAL, Seconds)?;
        within("history (HEAPWARD_HISTORY)", self.retention.count, HISTORY, |n| n)?;
        let count = self.disk_retention.count;
        within("profiles_count (HEAPWARD_PROFILES_COUNT)", count, PROFILES_COUNT, |n| n)?;
        within("max_stacks (HEAPWARD_MAX_STACKS)", self.limits.stacks, MAX_STACKS, |n| n)?;
        within("max_live_samples (HEAPWARD_MAX_LIVE_SAMPLES)", self.limits.live_objects, MAX_LIVE_SAMPLES, |n| n)?;
        within("readings (HEAPWARD_READINGS)", self.readings, READINGS, |n| n)?;
        let slow_operation = "slow_operation (HEAPWARD_SLOW_OPERATION_MS)";
        within(slow_operation, Seconds(self.slow_operation), SLOW_OPERATION, Seconds)?;
        self.validate_alerts()?;
        if let Some(folder) = self.debug_dirs.iter().find(|folder| !folder.is_absolute()) {
            return Err(Error::config(format!(
                "debug_dirs (HEAPWARD_DEBUG_DIRS) has `{}`: allowed are absolute paths such as {DEFAULT_DEBUG_DIRS}, in the \
                 variable with a colon between two",
                folder.display()
            )));
        }
        if let Some(token) = &mut self.token {
            // A secret that is read from a file ends with a line break, which no header can carry.
            *token = token.trim().to_owned();
            if token.is_empty() || !token.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(Error::config(
                    "token (HEAPWARD_TOKEN) is empty or has a character that is not allowed: allowed are visible ASCII \
                     characters and spaces between them; or leave it out",
                ));
            }
        }
        if !self.listen.is_local() && self.token.is_none() {
            return Err(Error::config(format!(
                "listen (HEAPWARD_LISTEN) is {}, which other machines can reach: set a token (HEAPWARD_TOKEN), or listen on \
                 a loopback address such as {DEFAULT_LISTEN}",
                self.listen
            )));
        }
        Ok(self)
    }

    fn validate_alerts(&self) -> Result<()> {
        if let Some(threshold) = self.alerts.threshold {
            threshold
                .validated()
                .map_err(|error| Error::config(format!("alert_threshold (HEAPWARD_ALERT_THRESHOLD): {error}")))?;
        }
        within("alert_after (HEAPWARD_ALERT_AFTER)", self.alerts.after, ALERT_AFTER, |n| n)?;
        let labels = self.alerts.check_labels();
        labels.map_err(|error| Error::config(format!("alert_label (HEAPWARD_ALERT_LABELS): {error}")))
    }
}

fn validated_rules(rules: &Rules) -> Result<()> {
    if let Some(growth) = rules.growth {
        growth
            .validated()
            .map_err(|error| Error::config(format!("trigger_growth (HEAPWARD_TRIGGER_GROWTH): {error}")))?;
    }
    if let Some(horizon) = rules.prediction {
        within("trigger_prediction (HEAPWARD_TRIGGER_PREDICTION)", Seconds(horizon), TRIGGER_PREDICTION, Seconds)?;
    }
    match rules.pressure {
        Some(percent) if !(percent > 0.0 && percent < 100.0) => Err(Error::config(format!(
            "trigger_pressure (HEAPWARD_TRIGGER_PRESSURE) is {percent}%: allowed is above 0% and below 100%"
        ))),
        _ => Ok(()),
    }
}

/// Seconds, as an error message prints them.
#[derive(PartialEq, PartialOrd)]
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

fn within<T, U: fmt::Display + PartialOrd>(
    name: &str,
    value: U,
    (low, high): (T, T),
    show: impl Fn(T) -> U,
) -> Result<()> {
    let (low, high) = (show(low), show(high));
    if value < low || value > high {
        return Err(Error::config(format!("{name} is {value}: allowed is {low} to {high}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Config), expect: &str) {
        let mut config = Config::default();
        change(&mut config);
        let error = config.validated().err().expect("must be refused").to_string();
        assert_eq!(error, expect);
    }

    #[test]
    fn the_defaults_are_allowed() {
        let config = Config::default().validated().unwrap();
        assert_eq!(config.listen.to_string(), DEFAULT_LISTEN);
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        check(
            |config| config.poll_interval = Duration::ZERO,
            "poll_interval (HEAPWARD_POLL_INTERVAL) is 0 s: allowed is 0.01 s to 3600 s",
        );
        check(
            |config| config.disk_retention.count = 0,
            "profiles_count (HEAPWARD_PROFILES_COUNT) is 0: allowed is 1 to 100000",
        );
        check(|config| config.retention.count = 0, "history (HEAPWARD_HISTORY) is 0: allowed is 1 to 1000");
        for readings in [1, 10_001] {
            check(
                |config| config.readings = readings,
                &format!("readings (HEAPWARD_READINGS) is {readings}: allowed is 2 to 10000"),
            );
        }
        check(
            |config| config.slow_operation = Duration::from_millis(3_600_001),
            "slow_operation (HEAPWARD_SLOW_OPERATION_MS) is 3600.001 s: allowed is 0 s to 3600 s",
        );
        check(
            |config| config.rss_threshold = Threshold::PercentOfLimit(170.0),
            "rss_threshold (HEAPWARD_RSS_THRESHOLD): `170%` is not a share of the memory limit: allowed is above 0% and at most 100%",
        );
        check(
            |config| config.rules.growth = Some(Growth::Percent(0.0)),
            "trigger_growth (HEAPWARD_TRIGGER_GROWTH): `0%` is no growth: allowed is a size such as 256MiB, or a share of what \
             RSS was such as 20%, above 0",
        );
        check(
            |config| config.rules.prediction = Some(Duration::from_secs(1)),
            "trigger_prediction (HEAPWARD_TRIGGER_PREDICTION) is 1 s: allowed is 10 s to 604800 s",
        );
        for (percent, shown) in [(0.0, "0%"), (100.0, "100%"), (f64::NAN, "NaN%")] {
            check(
                |config| config.rules.pressure = Some(percent),
                &format!("trigger_pressure (HEAPWARD_TRIGGER_PRESSURE) is {shown}: allowed is above 0% and below 100%"),
            );
        }
        check(
            |config| config.token = Some(String::new()),
            "token (HEAPWARD_TOKEN) is empty or has a character that is not allowed: allowed are visible ASCII characters \
             and spaces between them; or leave it out",
        );
        for token in ["schlüssel", "\n", "a\tb"] {
            let config = Config { token: Some(token.to_owned()), ..Config::default() };
            assert!(config.validated().is_err(), "{token}");
        }
        let config = Config { token: Some(" secret\n".to_owned()), ..Config::default() };
        assert_eq!(config.validated().unwrap().token.as_deref(), Some("secret"));
    }

    #[test]
    fn folders_for_debug_files_are_absolute() {
        check(
            |config| config.debug_dirs = vec!["/usr/lib/debug".into(), "debug".into()],
            "debug_dirs (HEAPWARD_DEBUG_DIRS) has `debug`: allowed are absolute paths such as /usr/lib/debug, in the variable \
             with a colon between two",
        );
        let config = Config { debug_dirs: Vec::new(), ..Config::default() };
        assert!(config.validated().is_ok());
    }

    #[test]
    fn other_machines_need_a_token() {
        check(
            |config| config.listen = "0.0.0.0:6060".parse().unwrap(),
            "listen (HEAPWARD_LISTEN) is 0.0.0.0:6060, which other machines can reach: set a token (HEAPWARD_TOKEN), or \
             listen on a loopback address such as 127.0.0.1:6060",
        );
        let mut config = Config { listen: "0.0.0.0:6060".parse().unwrap(), ..Config::default() };
        config.token = Some("secret".to_owned());
        assert!(config.validated().is_ok());
    }
}
