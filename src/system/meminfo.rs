//! Memory of the whole machine, from `meminfo` of procfs.
//!
//! The descriptor stays open and a reading allocates nothing. The figures mean what they mean in psutil from 7.1.0 on
//! (`virtual_memory` and `swap_memory` in `_pslinux.py`; before, `used` was another one: giampaolo/psutil#2604), but for
//! those that the kernel does not tell: they are unknown here, and 0 there.

use std::path::Path;

use super::process_memory::{ProcFile, digits, unexpected};
use crate::error::Result;
use crate::profile::SystemMemory;

/// A usual `meminfo`, of one and a half thousand bytes, in one piece.
const BUFFER_BYTES: usize = 4096;

/// Reads the machine's memory figures again and again.
#[derive(Debug)]
pub(crate) struct SystemMemoryReader {
    meminfo: ProcFile,
    /// Read only where the kernel does not say what is available.
    zoneinfo: ProcFile,
    page_size: u64,
}

/// What `meminfo` says, in bytes.
#[derive(Debug, Default)]
struct Fields {
    total: Option<u64>,
    free: Option<u64>,
    available: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    active: Option<u64>,
    inactive: Option<u64>,
    active_file: Option<u64>,
    inactive_file: Option<u64>,
    shared: Option<u64>,
    slab: Option<u64>,
    reclaimable: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

impl SystemMemoryReader {
    /// Of the procfs at `proc`, usually `/proc`. Nothing is opened before the first reading.
    pub(crate) fn new(proc: &Path) -> Self {
        Self {
            meminfo: ProcFile::closed(proc.join("meminfo")),
            zoneinfo: ProcFile::closed(proc.join("zoneinfo")),
            page_size: rustix::param::page_size() as u64,
        }
    }

    /// The figures of now. After an error the next call simply tries again.
    pub(crate) fn read(&mut self) -> Result<SystemMemory> {
        let mut fields = Fields::default();
        each_line(&mut self.meminfo, &mut |line| fields.note(line))?;
        let (Some(total), Some(free)) = (fields.total, fields.free) else {
            return Err(unexpected(&self.meminfo.path, "MemTotal and MemFree", b""));
        };
        let available = match fields.available {
            // Some kernels say 0 by mistake: giampaolo/psutil#1915.
            None | Some(0) => self.estimate_available(&fields, free),
            told => told,
        };
        Ok(SystemMemory {
            total,
            free,
            // Where a container shows its own total beside the machine's figures, what is free is nearer the truth.
            available: available.map(|available| if available > total { free } else { available }),
            active: fields.active,
            inactive: fields.inactive,
            buffers: fields.buffers,
            // As `free` counts it.
            cached: fields.cached.map(|cached| cached.saturating_add(fields.reclaimable.unwrap_or(0))),
            shared: fields.shared,
            slab: fields.slab,
            swap_total: fields.swap_total,
            swap_free: fields.swap_free,
        })
    }

    /// What kernels since 3.14 do themselves (torvalds/linux@34e431b0ae39): what is free, and of the files' pages and of what
    /// can be taken back all but what the kernel keeps. Where a part of that is not told, what is free or cached.
    fn estimate_available(&mut self, fields: &Fields, free: u64) -> Option<u64> {
        let rough = || Some(free.saturating_add(fields.cached?));
        let (Some(active), Some(inactive), Some(reclaimable)) =
            (fields.active_file, fields.inactive_file, fields.reclaimable)
        else {
            return rough();
        };
        let mut low_pages = 0u64;
        let noted = each_line(&mut self.zoneinfo, &mut |line| {
            if let Some(pages) = line.trim_ascii_start().strip_prefix(b"low") {
                low_pages = low_pages.saturating_add(digits(pages.trim_ascii()).ok_or("low")?);
            }
            Ok(())
        });
        if noted.is_err() {
            return rough();
        }
        let kept = low_pages.saturating_mul(self.page_size);
        let files = active.saturating_add(inactive);
        let files = files - (files / 2).min(kept);
        let reclaimable = reclaimable - (reclaimable / 2).min(kept);
        // In this order: what is free may be less than what is kept.
        Some(free.saturating_add(files).saturating_add(reclaimable).saturating_sub(kept))
    }
}

impl Fields {
    /// Takes the figure from a line, if it has one that is wanted; else, the name of the one that is no number.
    fn note(&mut self, line: &[u8]) -> std::result::Result<(), &'static str> {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let (field, name) = match name {
            b"MemTotal" => (&mut self.total, "MemTotal"),
            b"MemFree" => (&mut self.free, "MemFree"),
            b"MemAvailable" => (&mut self.available, "MemAvailable"),
            b"Buffers" => (&mut self.buffers, "Buffers"),
            b"Cached" => (&mut self.cached, "Cached"),
            b"Active" => (&mut self.active, "Active"),
            b"Inactive" => (&mut self.inactive, "Inactive"),
            b"Active(file)" => (&mut self.active_file, "Active(file)"),
            b"Inactive(file)" => (&mut self.inactive_file, "Inactive(file)"),
            b"Shmem" => (&mut self.shared, "Shmem"),
            b"Slab" => (&mut self.slab, "Slab"),
            b"SReclaimable" => (&mut self.reclaimable, "SReclaimable"),
            b"SwapTotal" => (&mut self.swap_total, "SwapTotal"),
            b"SwapFree" => (&mut self.swap_free, "SwapFree"),
            _ => return Ok(()),
        };
        // Wanting the unit makes a number that was cut short an error.
        let kibibytes = value.strip_suffix(b" kB").and_then(|value| digits(value.trim_ascii()));
        *field = Some(kibibytes.and_then(|number| number.checked_mul(1024)).ok_or(name)?);
        Ok(())
    }
}

/// Gives each line to `note`, without its end; what is longer than the buffer is none that is wanted, and left out. An error of
/// `note` names what should have been a number.
fn each_line(file: &mut ProcFile, note: &mut dyn FnMut(&[u8]) -> std::result::Result<(), &'static str>) -> Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    let (mut kept, mut offset) = (0, 0);
    // Inside of a line that is longer than the buffer.
    let mut skipping = false;
    loop {
        let got = file.read_at(&mut buffer[kept..], offset)?;
        let seen = &buffer[..kept + got];
        let at_end = seen.len() < buffer.len();
        let mut rest = seen;
        while !rest.is_empty() {
            let end = rest.iter().position(|&byte| byte == b'\n');
            // The last line may lack its end.
            let Some(length) = end.or(at_end.then_some(rest.len())) else { break };
            let line = &rest[..length];
            if !std::mem::take(&mut skipping) {
                note(line).map_err(|name| unexpected(&file.path, &format!("{name} as a number"), line))?;
            }
            rest = rest.get(length + 1..).unwrap_or_default();
        }
        if at_end {
            return Ok(());
        }
        skipping |= rest.len() == buffer.len();
        kept = if skipping { 0 } else { rest.len() };
        let unfinished = seen.len() - kept;
        buffer.copy_within(unfinished..unfinished + kept, 0);
        offset += got as u64;
    }
}

#[cfg(test)]
mod tests;
