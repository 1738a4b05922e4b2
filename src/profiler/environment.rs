//! The `HEAPWARD_*` variables. A variable that is set wins over what the program says: whoever runs a service must
//! be able to change it without building it.

use std::str::FromStr;
use std::time::Duration;

use super::config::{Config, ProfilesDir};
use crate::alerts::{AlertSettings, Target};
use crate::error::{Error, Result};
use crate::policy::Rules;
use crate::profile::ByteSize;

/// Every variable that is read.
const VARIABLES: &[&str] = &[
    "HEAPWARD_ENABLED",
    "HEAPWARD_RSS_THRESHOLD",
    "HEAPWARD_TRIGGER_GROWTH",
    "HEAPWARD_TRIGGER_PREDICTION",
    "HEAPWARD_TRIGGER_PRESSURE",
    "HEAPWARD_TRIGGER_EVENTS",
    "HEAPWARD_MIN_INTERVAL",
    "HEAPWARD_HISTORY",
    "HEAPWARD_HISTORY_BYTES",
    "HEAPWARD_POLL_INTERVAL",
    "HEAPWARD_LISTEN",
    "HEAPWARD_TOKEN",
    "HEAPWARD_PROFILES_DIR",
    "HEAPWARD_PROFILES_COUNT",
    "HEAPWARD_PROFILES_BYTES",
    "HEAPWARD_MAX_STACKS",
    "HEAPWARD_MAX_LIVE_SAMPLES",
    "HEAPWARD_COLLECTOR",
    "HEAPWARD_UNWINDER",
    "HEAPWARD_JEMALLOC_STACKS",
    "HEAPWARD_SYMBOLIZE",
    "HEAPWARD_SYMBOLIZE_HEADROOM",
    "HEAPWARD_DEBUG_DIRS",
    "HEAPWARD_READINGS",
    "HEAPWARD_SLOW_OPERATION_MS",
    "HEAPWARD_ALERT_THRESHOLD",
    "HEAPWARD_ALERT_AFTER",
    "HEAPWARD_ALERT_WEBHOOK",
    "HEAPWARD_ALERTMANAGER",
    "HEAPWARD_ALERT_LABELS",
];

/// Applies the variables that `lookup` gives to `config`.
pub(crate) fn apply(config: &mut Config, lookup: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let set = |variable: &str| Ok::<_, Error>(lookup(variable));
    if let Some(text) = set("HEAPWARD_ENABLED")? {
        config.enabled = switch("HEAPWARD_ENABLED", &text)?;
        if !config.enabled {
            return Ok(());
        }
    }
    parse(lookup, "HEAPWARD_RSS_THRESHOLD", &mut config.rss_threshold)?;
    triggers(lookup, &mut config.rules)?;
    if let Some(text) = set("HEAPWARD_MIN_INTERVAL")? {
        config.min_interval = duration("HEAPWARD_MIN_INTERVAL", &text)?;
    }
    if let Some(text) = set("HEAPWARD_POLL_INTERVAL")? {
        config.poll_interval = duration("HEAPWARD_POLL_INTERVAL", &text)?;
    }
    whole(lookup, "HEAPWARD_HISTORY", &mut config.retention.count)?;
    let mut bytes = ByteSize::bytes(config.retention.bytes as u64);
    parse(lookup, "HEAPWARD_HISTORY_BYTES", &mut bytes)?;
    config.retention.bytes = usize::try_from(bytes.as_u64()).unwrap_or(usize::MAX);
    parse(lookup, "HEAPWARD_LISTEN", &mut config.listen)?;
    if let Some(token) = set("HEAPWARD_TOKEN")? {
        config.token = Some(token);
    }
    match set("HEAPWARD_PROFILES_DIR")?.as_deref() {
        None => {}
        Some("off") => config.profiles_dir = ProfilesDir::Off,
        Some("") => {
            return Err(Error::config(
                "HEAPWARD_PROFILES_DIR is empty: allowed is the path of a folder that can be written to, or off",
            ));
        }
        Some(path) => config.profiles_dir = ProfilesDir::Named(path.into()),
    }
    whole(lookup, "HEAPWARD_PROFILES_COUNT", &mut config.disk_retention.count)?;
    let mut bytes = ByteSize::bytes(config.disk_retention.bytes);
    parse(lookup, "HEAPWARD_PROFILES_BYTES", &mut bytes)?;
    config.disk_retention.bytes = bytes.as_u64();
    whole(lookup, "HEAPWARD_MAX_STACKS", &mut config.limits.stacks)?;
    whole(lookup, "HEAPWARD_MAX_LIVE_SAMPLES", &mut config.limits.live_objects)?;
    match set("HEAPWARD_COLLECTOR")?.as_deref() {
        None => {}
        Some("auto") => config.use_hooks = true,
        Some("dump") => config.use_hooks = false,
        Some(other) => {
            return Err(Error::config(format!("HEAPWARD_COLLECTOR: `{other}` is unknown: allowed is auto or dump")));
        }
    }
    parse(lookup, "HEAPWARD_UNWINDER", &mut config.unwinder)?;
    if let Some(text) = set("HEAPWARD_JEMALLOC_STACKS")? {
        config.jemalloc_stacks = switch("HEAPWARD_JEMALLOC_STACKS", &text)?;
    }
    parse(lookup, "HEAPWARD_SYMBOLIZE", &mut config.symbolize)?;
    parse(lookup, "HEAPWARD_SYMBOLIZE_HEADROOM", &mut config.symbolize_headroom)?;
    if let Some(folders) = set("HEAPWARD_DEBUG_DIRS")? {
        config.debug_dirs = folders.split(':').filter(|folder| !folder.is_empty()).map(Into::into).collect();
    }
    whole(lookup, "HEAPWARD_READINGS", &mut config.readings)?;
    // Unset, it stays as it is: a program may have said parts of a millisecond.
    if let Some(millis) = whole_number(lookup, "HEAPWARD_SLOW_OPERATION_MS")? {
        config.slow_operation = Duration::from_millis(millis);
    }
    apply_alerts(&mut config.alerts, lookup)
}

fn apply_alerts(alerts: &mut AlertSettings, lookup: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let variable = "HEAPWARD_ALERT_THRESHOLD";
    if let Some(text) = lookup(variable) {
        alerts.threshold = match text.trim() {
            "off" => None,
            text => Some(text.parse().map_err(|error| Error::config(format!("{variable}: {error}; or off")))?),
        };
    }
    let mut after = alerts.after as usize;
    whole(lookup, "HEAPWARD_ALERT_AFTER", &mut after)?;
    alerts.after = u32::try_from(after).unwrap_or(u32::MAX);
    target(lookup, "HEAPWARD_ALERT_WEBHOOK", &mut alerts.webhook)?;
    target(lookup, "HEAPWARD_ALERTMANAGER", &mut alerts.alertmanager)?;
    if let Some(text) = lookup("HEAPWARD_ALERT_LABELS") {
        let labels = AlertSettings::parse_labels(&text)
            .map_err(|error| Error::config(format!("HEAPWARD_ALERT_LABELS: {error}")))?;
        alerts.labels.extend(labels);
    }
    Ok(())
}

fn triggers(lookup: &dyn Fn(&str) -> Option<String>, rules: &mut Rules) -> Result<()> {
    // With `off`, as what is on by default must be possible to switch off.
    let value = |variable| lookup(variable).map(|text| (text.trim() != "off").then_some(text));
    if let Some(text) = value("HEAPWARD_TRIGGER_GROWTH") {
        let parse = |text: String| {
            text.parse().map_err(|error| Error::config(format!("HEAPWARD_TRIGGER_GROWTH: {error}, or off")))
        };
        rules.growth = text.map(parse).transpose()?;
    }
    if let Some(text) = value("HEAPWARD_TRIGGER_PREDICTION") {
        let parse = |text: String| duration("HEAPWARD_TRIGGER_PREDICTION", &text);
        rules.prediction = text.map(parse).transpose().map_err(|error| Error::config(format!("{error}; or off")))?;
    }
    if let Some(text) = value("HEAPWARD_TRIGGER_PRESSURE") {
        let parse = |text: String| {
            let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            number.ok_or_else(|| {
                Error::config(format!(
                    "HEAPWARD_TRIGGER_PRESSURE: `{text}` is no share of time: allowed is one such as 10%, or off"
                ))
            })
        };
        rules.pressure = text.map(parse).transpose()?;
    }
    if let Some(text) = lookup("HEAPWARD_TRIGGER_EVENTS") {
        rules.events = switch("HEAPWARD_TRIGGER_EVENTS", &text)?;
    }
    Ok(())
}

fn target(lookup: &dyn Fn(&str) -> Option<String>, variable: &str, value: &mut Option<Target>) -> Result<()> {
    if let Some(text) = lookup(variable) {
        *value = match text.trim() {
            "off" => None,
            text => Some(text.parse().map_err(|error| Error::config(format!("{variable}: {error}; or off")))?),
        };
    }
    Ok(())
}

/// A variable with a slip in its name would be ignored in silence.
pub(crate) fn warn_of_unknown_variables() {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HEAPWARD_") && !VARIABLES.contains(&&*name) {
            tracing::warn!("heapward: the variable {name} is unknown; known are {}", VARIABLES.join(", "));
        }
    }
}

fn parse<T: FromStr<Err = Error>>(
    lookup: &dyn Fn(&str) -> Option<String>,
    variable: &str,
    value: &mut T,
) -> Result<()> {
    if let Some(text) = lookup(variable) {
        *value = text.parse().map_err(|error| Error::config(format!("{variable}: {error}")))?;
    }
    Ok(())
}

fn whole(lookup: &dyn Fn(&str) -> Option<String>, variable: &str, value: &mut usize) -> Result<()> {
    if let Some(number) = whole_number(lookup, variable)? {
        *value = number;
    }
    Ok(())
}

fn whole_number<T: FromStr>(lookup: &dyn Fn(&str) -> Option<String>, variable: &str) -> Result<Option<T>> {
    let parse = |text: String| {
        text.trim().parse().map_err(|_| Error::config(format!("{variable}: `{text}` is not a whole number")))
    };
    lookup(variable).map(parse).transpose()
}

fn switch(variable: &str, text: &str) -> Result<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(Error::config(format!("{variable}: `{text}` is neither on nor off: allowed is true or false"))),
    }
}

/// A duration: `60`, `60s`, `500ms`, `2m`, `1h`.
fn duration(variable: &str, text: &str) -> Result<Duration> {
    let refuse = || {
        Error::config(format!(
            "{variable}: `{text}` is not a duration: allowed is a number with ms, s, m or h, such as 60s; without a unit, seconds"
        ))
    };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(refuse()),
    };
    let number: f64 = number.parse().map_err(|_| refuse())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply_one(variable: &str, value: &str) -> Result<Config> {
        assert!(VARIABLES.contains(&variable), "{variable}");
        let mut config = Config::default();
        apply(&mut config, &|name| (name == variable).then(|| value.to_owned()))?;
        config.validated()
    }

    #[test]
    fn every_variable_that_is_read_is_listed() {
        let read = std::cell::RefCell::new(Vec::new());
        let lookup = |name: &str| {
            read.borrow_mut().push(name.to_owned());
            None
        };
        apply(&mut Config::default(), &lookup).unwrap();
        let mut read = read.into_inner();
        let mut listed = VARIABLES.to_vec();
        read.sort();
        listed.sort_unstable();
        assert_eq!(read, listed);
    }

    #[test]
    fn good_values_are_taken() {
        assert!(!apply_one("HEAPWARD_ENABLED", "false").unwrap().enabled);
        assert_eq!(
            apply_one("HEAPWARD_RSS_THRESHOLD", "70%").unwrap().rss_threshold.to_string(),
            "70% of the memory limit"
        );
        let rules = |variable, value| apply_one(variable, value).unwrap().rules;
        assert_eq!(rules("HEAPWARD_TRIGGER_GROWTH", "20%").growth.unwrap().to_string(), "20%");
        assert_eq!(rules("HEAPWARD_TRIGGER_GROWTH", "256MiB").growth, Some(ByteSize::mib(256).into()));
        assert_eq!(rules("HEAPWARD_TRIGGER_GROWTH", "off").growth, None);
        assert_eq!(rules("HEAPWARD_TRIGGER_PREDICTION", "5m").prediction, Some(Duration::from_secs(300)));
        assert_eq!(rules("HEAPWARD_TRIGGER_PREDICTION", "off").prediction, None);
        assert_eq!(rules("HEAPWARD_TRIGGER_PRESSURE", "2.5%").pressure, Some(2.5));
        assert_eq!(rules("HEAPWARD_TRIGGER_PRESSURE", "off").pressure, None);
        assert!(!rules("HEAPWARD_TRIGGER_EVENTS", "off").events);
        assert_eq!(apply_one("HEAPWARD_MIN_INTERVAL", "2m").unwrap().min_interval, Duration::from_secs(120));
        assert_eq!(apply_one("HEAPWARD_POLL_INTERVAL", "250ms").unwrap().poll_interval, Duration::from_millis(250));
        assert_eq!(apply_one("HEAPWARD_HISTORY", "5").unwrap().retention.count, 5);
        assert_eq!(apply_one("HEAPWARD_LISTEN", "off").unwrap().listen.to_string(), "off");
        assert_eq!(apply_one("HEAPWARD_PROFILES_DIR", "off").unwrap().profiles_dir, ProfilesDir::Off);
        assert_eq!(apply_one("HEAPWARD_PROFILES_COUNT", "7").unwrap().disk_retention.count, 7);
        assert_eq!(apply_one("HEAPWARD_PROFILES_BYTES", "2MiB").unwrap().disk_retention.bytes, 2 << 20);
        assert!(!apply_one("HEAPWARD_COLLECTOR", "dump").unwrap().use_hooks);
        assert_eq!(apply_one("HEAPWARD_UNWINDER", "eh_frame").unwrap().unwinder, crate::collect::Unwinder::EhFrame);
        assert!(apply_one("HEAPWARD_JEMALLOC_STACKS", "on").unwrap().jemalloc_stacks);
        assert_eq!(apply_one("HEAPWARD_SYMBOLIZE", "never").unwrap().symbolize, crate::policy::Symbolize::Never);
        let headroom = apply_one("HEAPWARD_SYMBOLIZE_HEADROOM", "1GiB").unwrap().symbolize_headroom;
        assert_eq!(headroom, ByteSize::gib(1));
        let folders = apply_one("HEAPWARD_DEBUG_DIRS", "/a:/b c:").unwrap().debug_dirs;
        assert_eq!(folders, [std::path::Path::new("/a"), std::path::Path::new("/b c")]);
        assert!(apply_one("HEAPWARD_DEBUG_DIRS", "").unwrap().debug_dirs.is_empty());
        assert_eq!(apply_one("HEAPWARD_READINGS", "2").unwrap().readings, 2);
        assert_eq!(apply_one("HEAPWARD_SLOW_OPERATION_MS", "0").unwrap().slow_operation, Duration::ZERO);
        assert_eq!(
            apply_one("HEAPWARD_SLOW_OPERATION_MS", " 250 ").unwrap().slow_operation,
            Duration::from_millis(250)
        );
    }

    #[test]
    fn alerts_are_set_up() {
        let alerts = |variable, value| apply_one(variable, value).unwrap().alerts;
        assert_eq!(alerts("HEAPWARD_ALERT_THRESHOLD", "off").threshold, None);
        assert_eq!(alerts("HEAPWARD_ALERT_THRESHOLD", "2GiB").threshold, Some(ByteSize::gib(2).into()));
        assert_eq!(alerts("HEAPWARD_ALERT_AFTER", "5").after, 5);
        let to = |target: Option<Target>| target.map(|target| target.to_string());
        let webhook = alerts("HEAPWARD_ALERT_WEBHOOK", "http://u:p@127.0.0.1:1/x").webhook;
        assert_eq!(to(webhook).as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(to(alerts("HEAPWARD_ALERTMANAGER", "off").alertmanager), None);
        assert_eq!(alerts("HEAPWARD_ALERT_LABELS", "team=core").labels["team"], "core");
        assert!(apply_one("HEAPWARD_ALERT_AFTER", "0").is_err());
    }

    #[test]
    fn bad_values_are_refused_with_the_variable_and_what_is_allowed() {
        for &variable in VARIABLES {
            let bad = if variable == "HEAPWARD_TOKEN" || variable == "HEAPWARD_PROFILES_DIR" { "" } else { "banana" };
            let error = apply_one(variable, bad).err().expect(variable).to_string();
            assert!(error.contains(variable), "{error}");
            assert!(bad.is_empty() || error.contains("`banana`"), "{error}");
        }
        for bad in ["-1s", "1e999", "", "5 fortnights"] {
            assert!(apply_one("HEAPWARD_MIN_INTERVAL", bad).is_err(), "{bad}");
        }
    }
}
