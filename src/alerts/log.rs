//! Alerts in the log of the host.

use super::Alert;
use crate::policy::AlertChange;

/// One event; loud when it begins or gets worse, and with the first evidence (`is_news`). Runs the host's subscriber, which may
/// panic.
pub(super) fn write(alert: &Alert, is_news: bool) {
    let (id, severity, snapshot) = (&*alert.id, alert.severity.name(), alert.snapshot);
    let story = alert.story();
    match alert.change {
        AlertChange::Opened | AlertChange::Raised => {
            let what = if alert.change == AlertChange::Raised { "alert raised to" } else { "alert," };
            tracing::warn!(id, severity, snapshot, "heapward: {what} {severity}: {story}");
        }
        AlertChange::Resolved => tracing::info!(id, severity, snapshot, "heapward: alert over: {story}"),
        _ if is_news => {
            tracing::warn!(id, severity, snapshot, "heapward: alert, what is behind it, {severity}: {story}")
        }
        AlertChange::Updated | AlertChange::Unchanged => {
            tracing::info!(id, severity, snapshot, "heapward: alert goes on, {severity}: {story}");
        }
    }
}
