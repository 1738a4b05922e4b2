//! The `HEAPWARD_*` variables. A variable that is set wins over what the program says: whoever runs a service must
//! be able to change it without building it.

use std::str::FromStr;
use std::time::Duration;

use super::config::{Config, ProfilesDir};
use crate::error::{Error, Result};
use crate::profile::ByteSize;

/// Every variable that is read.
const VARIABLES: [&str; 18] = [
    "HEAPWARD_ENABLED",
    "HEAPWARD_RSS_THRESHOLD",
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
    "HEAPWARD_SYMBOLIZE",
    "HEAPWARD_SYMBOLIZE_HEADROOM",
    "HEAPWARD_DEBUG_DIRS",
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
    parse(lookup, "HEAPWARD_SYMBOLIZE", &mut config.symbolize)?;
    parse(lookup, "HEAPWARD_SYMBOLIZE_HEADROOM", &mut config.symbolize_headroom)?;
    if let Some(folders) = set("HEAPWARD_DEBUG_DIRS")? {
        config.debug_dirs = folders.split(':').filter(|folder| !folder.is_empty()).map(Into::into).collect();
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
    if let Some(text) = lookup(variable) {
        *value =
            text.trim().parse().map_err(|_| Error::config(format!("{variable}: `{text}` is not a whole number")))?;
    }
    Ok(())
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
        assert_eq!(apply_one("HEAPWARD_MIN_INTERVAL", "2m").unwrap().min_interval, Duration::from_secs(120));
        assert_eq!(apply_one("HEAPWARD_POLL_INTERVAL", "250ms").unwrap().poll_interval, Duration::from_millis(250));
        assert_eq!(apply_one("HEAPWARD_HISTORY", "5").unwrap().retention.count, 5);
        assert_eq!(apply_one("HEAPWARD_LISTEN", "off").unwrap().listen.to_string(), "off");
        assert_eq!(apply_one("HEAPWARD_PROFILES_DIR", "off").unwrap().profiles_dir, ProfilesDir::Off);
        assert_eq!(apply_one("HEAPWARD_PROFILES_COUNT", "7").unwrap().disk_retention.count, 7);
        assert_eq!(apply_one("HEAPWARD_PROFILES_BYTES", "2MiB").unwrap().disk_retention.bytes, 2 << 20);
        assert!(!apply_one("HEAPWARD_COLLECTOR", "dump").unwrap().use_hooks);
        assert_eq!(apply_one("HEAPWARD_UNWINDER", "eh_frame").unwrap().unwinder, crate::collect::Unwinder::EhFrame);
        assert_eq!(apply_one("HEAPWARD_SYMBOLIZE", "never").unwrap().symbolize, crate::policy::Symbolize::Never);
        let headroom = apply_one("HEAPWARD_SYMBOLIZE_HEADROOM", "1GiB").unwrap().symbolize_headroom;
        assert_eq!(headroom, ByteSize::gib(1));
        let folders = apply_one("HEAPWARD_DEBUG_DIRS", "/a:/b c:").unwrap().debug_dirs;
        assert_eq!(folders, [std::path::Path::new("/a"), std::path::Path::new("/b c")]);
        assert!(apply_one("HEAPWARD_DEBUG_DIRS", "").unwrap().debug_dirs.is_empty());
    }

    #[test]
    fn bad_values_are_refused_with_the_variable_and_what_is_allowed() {
        for variable in VARIABLES {
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
