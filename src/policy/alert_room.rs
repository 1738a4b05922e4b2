//! Whether there is room to find out what an alert is about.

use super::Threshold;
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{ByteSize, CgroupMemory};

/// What is left alone: the last reading is up to a poll old, and the service goes on meanwhile.
const RESERVE: u64 = 4 << 20;

/// The names of the few addresses that matter to an alert take this part of the headroom that the names of a whole profile
/// want.
const FEW: u64 = 16;

/// The headroom that there was at the last reading. An alert comes where little is left, so each part of its evidence is
/// weighed by what it takes itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlertRoom {
    /// Limit and headroom; `None` where no limit is known.
    known: Option<(u64, u64)>,
}

impl AlertRoom {
    /// By the control group of the last reading.
    pub(crate) fn of(cgroup: &CgroupMemory) -> Self {
        let known = cgroup.limit.zip(cgroup.usage);
        Self { known: known.map(|(limit, usage)| (limit, limit.saturating_sub(usage))) }
    }

    /// Refuses what may take so many `bytes` where so little is left that this could be what ends the service. `not_done` says
    /// what is refused: "sites were not looked for".
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`], with what there is and what is needed.
    pub(crate) fn check(&self, not_done: &str, bytes: u64) -> Result<()> {
        let Some((limit, headroom)) = self.known else { return Ok(()) };
        if headroom >= bytes.saturating_add(RESERVE) {
            return Ok(());
        }
        let message = format!(
            "{not_done}: {} of headroom to the memory limit of {}, and it may take {} beside a reserve of {}",
            ByteSize::bytes(headroom),
            ByteSize::bytes(limit),
            ByteSize::bytes(bytes),
            ByteSize::bytes(RESERVE)
        );
        Err(Error::new(ErrorKind::Busy, message))
    }

    /// The same for the names of a few addresses, where those of a whole profile want the headroom `of_all`.
    ///
    /// # Errors
    ///
    /// As [`AlertRoom::check`].
    pub(crate) fn check_few_names(&self, of_all: ByteSize) -> Result<()> {
        self.check("names were not looked up", of_all.as_u64() / FEW)
    }
}

/// Whether names of a whole profile would be declined when memory use is at the alert's `threshold`, where they want the headroom
/// `of_all`: then it is worth remembering some beforehand.
pub(crate) fn alert_is_short_of_names(cgroup: &CgroupMemory, threshold: Threshold, of_all: ByteSize) -> bool {
    let left = cgroup.limit.and_then(|limit| Some(limit.saturating_sub(threshold.bytes(Some(limit))?)));
    left.is_some_and(|left| left < of_all.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(limit: Option<u64>, usage: Option<u64>) -> AlertRoom {
        AlertRoom::of(&CgroupMemory { limit, usage })
    }

    #[test]
    fn it_takes_headroom_where_a_limit_is_known() {
        let check = |limit, usage| {
            room(limit, usage).check("sites were not looked for", 28 * MIB).map_err(|error| error.to_string())
        };
        assert_eq!(check(None, Some(1)), Ok(()));
        assert_eq!(check(Some(1), None), Ok(()));
        assert_eq!(check(Some(100 * MIB), Some(68 * MIB)), Ok(()));
        let refused = "sites were not looked for: 32.0 MiB of headroom to the memory limit of 100.0 MiB, and it may take \
                       28.0 MiB beside a reserve of 4.0 MiB";
        assert_eq!(check(Some(100 * MIB), Some(68 * MIB + 1)), Err(refused.to_owned()));
        assert!(check(Some(100 * MIB), Some(200 * MIB)).is_err());
    }

    #[test]
    fn a_few_names_are_to_be_had_in_small_containers() {
        // At the threshold of 85% of the limit, with the default headroom.
        let check =
            |limit: u64| room(Some(limit * MIB), Some(limit * MIB * 85 / 100)).check_few_names(ByteSize::mib(256));
        for limit in [134, 256, 512, 1024, 2048] {
            assert!(check(limit).is_ok(), "{limit} MiB");
        }
        assert!(check(133).is_err());
        let huge = ByteSize::gib(1 << 30);
        assert!(room(Some(1 << 40), Some(0)).check_few_names(huge).is_err(), "the setting counts");
        assert!(room(Some(1), Some(1)).check_few_names(ByteSize::bytes(0)).is_err(), "and so does the reserve");
    }

    #[test]
    fn names_are_prepared_where_an_alert_would_find_none() {
        let check = |limit: Option<u64>, threshold: &str| {
            let cgroup = CgroupMemory { limit: limit.map(|limit| limit * MIB), usage: Some(0) };
            alert_is_short_of_names(&cgroup, threshold.parse().unwrap(), ByteSize::mib(256))
        };
        assert!(!check(None, "85%") && !check(None, "1MiB"), "no limit, no bound");
        assert!(check(Some(256), "85%") && check(Some(1706), "85%") && !check(Some(1707), "85%"));
        assert!(check(Some(1000), "800MiB") && !check(Some(1000), "700MiB"));
    }
}
