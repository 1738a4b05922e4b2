//! What this folder's tests share.

use std::time::{Duration, SystemTime};

use super::{Alert, Labels};
use crate::policy::{Alarm, AlertChange, LimitOf, MemoryUse, Severity};

const MIB: u64 = 1 << 20;

/// Time of the alarm's reading.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_002)
}

pub(super) fn alarm(number: u64, change: AlertChange) -> Alarm {
    let limit = Some((1000 * MIB, LimitOf::Cgroup));
    let memory = MemoryUse { rss: 900 * MIB, usage: Some(910 * MIB), limit, threshold: 850 * MIB };
    let lasted = Duration::from_secs(2);
    Alarm {
        number,
        change,
        severity: Severity::Medium,
        started: now() - lasted,
        time: now(),
        lasted,
        unread: None,
        memory,
        peak: memory,
        swap: None,
        snapshot: Some(7),
    }
}

pub(super) fn labels() -> Labels {
    [("instance", "host:1"), ("job", "shop")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

pub(super) fn alert(number: u64, change: AlertChange) -> Alert {
    Alert::new(&alarm(number, change), 5, &labels(), Some("http://127.0.0.1:6060/"))
}
