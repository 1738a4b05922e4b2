//! Memory of the machine and its name, from procfs: `/proc/meminfo` of `proc_meminfo(5)`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::profile::{MachineMemory, SwapUse};

/// The lines that are read stand in the first two kilobytes.
const MEMINFO_BYTES: usize = 2048;

/// Reads the machine's memory figures again and again; allocates nothing.
#[derive(Debug)]
pub(crate) struct MachineReader {
    meminfo: File,
}

impl MachineReader {
    /// Opens `meminfo` in this folder, usually `/proc`.
    pub(crate) fn open(proc: &Path) -> Result<Self> {
        let path = proc.join("meminfo");
        let meminfo = File::open(&path).map_err(|error| Error::io(format!("opening {}", path.display()), error))?;
        Ok(Self { meminfo })
    }

    /// The figures of now.
    pub(crate) fn read(&self) -> Result<MachineMemory> {
        let mut buffer = [0; MEMINFO_BYTES];
        let got = self.meminfo.read_at(&mut buffer, 0).map_err(|error| Error::io("reading meminfo", error))?;
        Ok(parse(buffer.get(..got).unwrap_or_default()))
    }
}

fn parse(meminfo: &[u8]) -> MachineMemory {
    let figure = |name: &str| -> Option<u64> {
        let line = meminfo.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
        let kib = std::str::from_utf8(line).ok()?.strip_prefix(':')?.trim().strip_suffix(" kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let swap = figure("SwapTotal").filter(|total| *total > 0).zip(figure("SwapFree"));
    MachineMemory {
        total: figure("MemTotal"),
        swap: swap.map(|(total, free)| SwapUse { total, used: total.saturating_sub(free) }),
    }
}

/// The name of this machine, or of the container that looks like one; empty when unknown.
pub(crate) fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(meminfo: &str, total: Option<u64>, swap: Option<(u64, u64)>) {
        let swap = swap.map(|(total, used)| SwapUse { total, used });
        assert_eq!(parse(meminfo.as_bytes()), MachineMemory { total, swap }, "{meminfo:?}");
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        check(
            "MemTotal:       16316412 kB\nMemFree:  1 kB\nSwapCached:   9 kB\nSwapTotal:   2048 kB\nSwapFree:    512 kB\n",
            Some(16_316_412 << 10),
            Some((2 << 20, 1536 << 10)),
        );
        check("MemTotal: 1 kB\nSwapTotal:       0 kB\nSwapFree:        0 kB\n", Some(1024), None);
        check("MemTotal: 1 kB\nSwapTotal:      10 kB\nSwapFr", Some(1024), None);
        for nothing in
            ["", "\0\u{1}", "MemTotal", "MemTotal: x kB\n", "MemTotal: 1 MB\n", "MemTotal: 18446744073709551615 kB\n"]
        {
            check(nothing, None, None);
        }
    }

    #[test]
    fn this_machine_has_memory_and_a_name() {
        let memory = MachineReader::open(Path::new("/proc")).unwrap().read().unwrap();
        assert!(memory.total > Some(1 << 20), "{memory:?}");
        assert!(memory.swap.is_none_or(|swap| swap.total > 0), "{memory:?}");
        assert!(!machine_name().is_empty());
    }
}
