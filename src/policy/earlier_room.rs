//! Whether there is room to read snapshots of an earlier run.

use crate::error::{Error, ErrorKind, Result};
use crate::profile::{ByteSize, CgroupMemory};

/// What reading a file may take, by its bytes: it is deflated, and what is made of it is there together with it.
const TIMES: u64 = 32;

/// What is left alone: the usage is as old as the last poll.
const RESERVE: u64 = 4 << 20;

/// Refuses to read files of `bytes` together where so little is left that this could be what ends the service. Else how much
/// there is, if that is known: more may not be taken, whatever is in the files.
///
/// # Errors
///
/// [`ErrorKind::Busy`], with what there is and what is needed.
pub(crate) fn earlier_room(cgroup: &CgroupMemory, bytes: u64) -> Result<Option<u64>> {
    let (Some(limit), Some(usage)) = (cgroup.limit, cgroup.usage) else { return Ok(None) };
    let (headroom, need) = (limit.saturating_sub(usage), bytes.saturating_mul(TIMES).saturating_add(RESERVE));
    if headroom >= need {
        return Ok(Some(headroom - RESERVE));
    }
    let message = format!(
        "the snapshot was not read: {} of headroom to the memory limit of {}, and it may take {}; look at it where there is room, \
         by a service of the same build with a copy of the folder",
        ByteSize::bytes(headroom),
        ByteSize::bytes(limit),
        ByteSize::bytes(need)
    );
    Err(Error::new(ErrorKind::Busy, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_headroom_by_the_size_of_the_files_where_a_limit_is_known() {
        const MIB: u64 = 1 << 20;
        let check = |limit, usage, bytes| {
            earlier_room(&CgroupMemory { limit, usage }, bytes).map_err(|error| error.to_string())
        };
        assert_eq!(check(None, Some(1), u64::MAX), Ok(None));
        assert_eq!(check(Some(100 * MIB), None, u64::MAX), Ok(None));
        assert_eq!(check(Some(104 * MIB), Some(36 * MIB), 2 * MIB), Ok(Some(64 * MIB)));
        let refused = check(Some(104 * MIB), Some(36 * MIB), 2 * MIB + 1).unwrap_err();
        assert!(
            refused.starts_with(
                "the snapshot was not read: 68.0 MiB of headroom to the memory limit of 104.0 MiB, and it may take 68.0 MiB"
            ),
            "{refused}"
        );
        assert!(check(Some(100 * MIB), Some(200 * MIB), 1).is_err());
        assert!(check(Some(u64::MAX), Some(1), u64::MAX).is_err());
    }
}
