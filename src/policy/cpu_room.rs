//! Whether there is room for a CPU profile.

use crate::error::{Error, ErrorKind, Result};
use crate::profile::{ByteSize, CgroupMemory};

/// What the pprof crate's tables take at their largest: 78 MiB for good were seen, and as much again while it starts
/// and ends a profile.
const TABLES: ByteSize = ByteSize::mib(192);

/// Refuses a CPU profile that the control group of the last reading has no headroom for. `program` is the size of the
/// program's file in bytes: the pprof crate has all of its debug information read at the start of each profile.
///
/// # Errors
///
/// [`ErrorKind::Busy`], with what there is and what is needed.
pub(crate) fn check_cpu_room(cgroup: &CgroupMemory, program: u64) -> Result<()> {
    let (Some(limit), Some(usage)) = (cgroup.limit, cgroup.usage) else { return Ok(()) };
    let (headroom, needed) = (limit.saturating_sub(usage), TABLES.as_u64().saturating_add(program));
    if headroom >= needed {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Busy,
        format!(
            "a CPU profile may take {}, the program's file of {} included, and there are {} of headroom to the memory \
             limit of {}",
            ByteSize::bytes(needed),
            ByteSize::bytes(program),
            ByteSize::bytes(headroom),
            ByteSize::bytes(limit)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_close_refuses_and_an_unknown_one_does_not() {
        const MIB: u64 = 1 << 20;
        let check =
            |limit, usage| check_cpu_room(&CgroupMemory { limit, usage }, 8 * MIB).map_err(|error| error.to_string());
        assert_eq!(check(None, Some(1)), Ok(()));
        assert_eq!(check(Some(MIB), None), Ok(()));
        assert_eq!(check(Some(400 * MIB), Some(200 * MIB)), Ok(()));
        let refused = "a CPU profile may take 200.0 MiB, the program's file of 8.0 MiB included, and there are 199.0 MiB of \
                       headroom to the memory limit of 400.0 MiB";
        assert_eq!(check(Some(400 * MIB), Some(201 * MIB)), Err(refused.to_owned()));
        assert!(check(Some(400 * MIB), Some(500 * MIB)).is_err());
    }
}
