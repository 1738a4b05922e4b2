//! When alerts are told, to whom, and about which service.

use std::collections::BTreeMap;

use super::Target;
use crate::error::{Error, Result};
use crate::policy::Threshold;
use crate::system::machine_name;

/// Which service an alert is about, by label.
pub(crate) type Labels = BTreeMap<String, String>;

/// Labels that are heapward's own to say.
const OWN: [&str; 2] = ["alertname", "severity"];

/// The settings of alerts.
#[derive(Clone, Debug)]
pub(crate) struct AlertSettings {
    /// Memory use above which there is an alert; `None` for no alerts.
    pub(crate) threshold: Option<Threshold>,
    /// Readings in a row that count.
    pub(crate) after: u32,
    /// Who gets a request with each change.
    pub(crate) webhook: Option<Target>,
    /// An Alertmanager.
    pub(crate) alertmanager: Option<Target>,
    /// Labels beside those that heapward finds out, or instead of them.
    pub(crate) labels: Labels,
}

impl AlertSettings {
    /// Takes labels from `name=value,name=value`.
    pub(crate) fn parse_labels(text: &str) -> Result<Labels> {
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                Err(Error::config(format!("`{pair}` is not a label: allowed is name=value, with a comma between two")))
            }
        };
        pairs.map(pair).collect()
    }

    /// Refuses labels that Alertmanager would refuse.
    pub(crate) fn check_labels(&self) -> Result<()> {
        let is_allowed = |name: &str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
                && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
                && !OWN.contains(&name)
        };
        match self.labels.iter().find(|(name, value)| !is_allowed(name) || value.is_empty()) {
            None => Ok(()),
            Some((name, value)) => Err(Error::config(format!(
                "`{name}={value}` is not a label: allowed are names of letters, digits and `_`, without {}, and values that \
                 are not empty",
                OWN.join(" and ")
            ))),
        }
    }

    /// All labels: `job` is the program's name, `instance` the machine's with the port that heapward listens on, or with the
    /// process where it does not. What is set wins.
    pub(crate) fn all_labels(&self, port: Option<u16>) -> Labels {
        let program = std::env::current_exe().ok();
        let job = program.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let process = port.map_or_else(std::process::id, u32::from);
        let found = [("job", job.unwrap_or_default()), ("instance", format!("{}:{process}", machine_name()))];
        let mut labels: Labels = found.map(|(name, value)| (name.to_owned(), value)).into();
        labels.retain(|_, value| !value.is_empty());
        labels.extend(self.labels.clone());
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<AlertSettings> {
        let labels = AlertSettings::parse_labels(text)?;
        let settings = AlertSettings { threshold: None, after: 3, webhook: None, alertmanager: None, labels };
        settings.check_labels().map(|()| settings)
    }

    #[test]
    fn labels_are_names_and_values() {
        let settings = check("team=core, service = shop=7 ,instance=a:1,").unwrap();
        let labels = settings.all_labels(Some(6060));
        assert_eq!(labels["service"], "shop=7");
        assert_eq!((&*labels["team"], &*labels["instance"]), ("core", "a:1"), "what is set wins");
        assert!(labels["job"].starts_with("heapward-"), "{labels:?}");
        assert!(check("").unwrap().all_labels(Some(6060))["instance"].ends_with(":6060"));
        let process = format!(":{}", std::process::id());
        assert!(check("").unwrap().all_labels(None)["instance"].ends_with(&process));
        for wrong in ["team", "1a=b", "a-b=c", "=b", "a=", "severity=high", "alertname=x"] {
            let error = check(wrong).unwrap_err().to_string();
            assert!(error.contains("is not a label: allowed"), "{wrong}: {error}");
        }
    }
}
