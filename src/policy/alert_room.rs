//! Whether there is room to find out what an alert is about.

use crate::error::{Error, ErrorKind, Result};
use crate::profile::{ByteSize, CgroupMemory};

/// What listing the stacks of one snapshot may take, without looking any name up.
const STACKS: ByteSize = ByteSize::mib(32);

/// Refuses to build a profile for an alert where so little is left that this could be what ends the service.
///
/// # Errors
///
/// [`ErrorKind::Busy`], with what there is and what is needed.
pub(crate) fn check_alert_room(cgroup: &CgroupMemory) -> Result<()> {
    let (Some(limit), Some(usage)) = (cgroup.limit, cgroup.usage) else { return Ok(()) };
    let headroom = limit.saturating_sub(usage);
    if headroom >= STACKS.as_u64() {
        return Ok(());
    }
    let message = format!(
        "sites were not looked for: {} of headroom to the memory limit of {}, and it may take {STACKS}",
        ByteSize::bytes(headroom),
        ByteSize::bytes(limit)
    );
    Err(Error::new(ErrorKind::Busy, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_headroom_where_a_limit_is_known() {
        const MIB: u64 = 1 << 20;
        let check = |limit, usage| check_alert_room(&CgroupMemory { limit, usage }).map_err(|error| error.to_string());
        assert_eq!(check(None, Some(1)), Ok(()));
        assert_eq!(check(Some(100 * MIB), Some(68 * MIB)), Ok(()));
        let refused = "sites were not looked for: 32.0 MiB of headroom to the memory limit of 100.0 MiB, and it may take \
                       32.0 MiB";
        assert_eq!(check(Some(100 * MIB), Some(68 * MIB + 1)), Err(refused.to_owned()));
        assert!(check(Some(100 * MIB), Some(200 * MIB)).is_err());
    }
}
