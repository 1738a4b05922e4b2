//! Numbers and short texts of fixed places, written into room that is there and read from bytes that may be damaged.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::FIGURES;
use crate::error::{Error, Result};
use crate::profile::{
    AllocatorMemory, CgroupEvents, CgroupMemory, Pressure, ProcessMemory, Reading, Share, Stall, Sums, SystemMemory,
};

/// Writes into a buffer. What does not fit is lost, and [`Put::written`] says so; nothing is allocated.
#[derive(Debug)]
pub(crate) struct Put<'b> {
    buffer: &'b mut [u8],
    at: usize,
    is_whole: bool,
}

impl<'b> Put<'b> {
    pub(crate) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, at: 0, is_whole: true }
    }

    /// How many bytes were written; `None` when some found no room.
    pub(crate) fn written(&self) -> Option<usize> {
        self.is_whole.then_some(self.at)
    }

    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.at]
    }

    pub(crate) fn bytes_of(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.is_whole = false,
        }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes_of(&[byte]);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes_of(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes_of(&number.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, number: f64) {
        self.bytes_of(&number.to_bits().to_le_bytes());
    }

    pub(crate) fn optional(&mut self, number: Option<u64>) {
        self.byte(number.is_some().into());
        self.u64(number.unwrap_or(0));
    }

    pub(crate) fn duration(&mut self, duration: Duration) {
        self.u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Nanoseconds since 1970, before it negative.
    pub(crate) fn time(&mut self, time: SystemTime) {
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before) => -nanos(before.duration()),
        };
        self.u64(nanos as u64);
    }

    /// What `text` prints, cut after `most` bytes.
    pub(crate) fn text(&mut self, most: u16, text: impl fmt::Display) {
        let start = self.at;
        self.bytes_of(&[0; 2]);
        let mut cut = Cut { left: usize::from(most), is_cut: false, put: self };
        // Fails only where it is cut.
        let _ = fmt::write(&mut cut, format_args!("{text}"));
        let len = (self.at - start).saturating_sub(2) as u16;
        if let Some(room) = self.buffer.get_mut(start..start + 2) {
            room.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// Up to 255 bytes.
    pub(crate) fn short(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(255)];
        self.byte(bytes.len() as u8);
        self.bytes_of(bytes);
    }

    pub(crate) fn sums(&mut self, sums: &Sums) {
        self.u64(sums.objects);
        self.u64(sums.bytes);
        for figure in [sums.estimated_objects, sums.estimated_bytes, sums.variance_objects, sums.variance_bytes] {
            self.f64(figure);
        }
    }

    pub(crate) fn reading(&mut self, reading: &Reading) {
        let Reading { time, uptime, process, allocator, cgroup, pressure, events, system } = reading;
        self.time(*time);
        self.duration(*uptime);
        self.u64(process.rss);
        self.u64(process.virtual_size);
        let figures = [process.swap, process.anonymous, process.files, process.shared_memory, process.threads];
        figures.into_iter().for_each(|figure| self.optional(figure));
        self.byte(allocator.is_some().into());
        let of = allocator.unwrap_or_default();
        [of.allocated, of.active, of.resident, of.mapped, of.retained, of.metadata]
            .into_iter()
            .for_each(|figure| self.u64(figure));
        let figures = [of.metadata_index, of.dirty, of.muzzy, of.thread_caches, cgroup.limit, cgroup.usage];
        figures.into_iter().for_each(|figure| self.optional(figure));
        self.pressure(pressure);
        let figures = [events.low, events.high, events.max, events.oom, events.oom_kill];
        figures.into_iter().for_each(|figure| self.optional(figure));
        self.system(system);
    }

    fn pressure(&mut self, pressure: &Option<Pressure>) {
        self.byte(pressure.is_some().into());
        let Pressure { some, full, of_group } = pressure.unwrap_or_default();
        for stall in [some, full] {
            [stall.avg10, stall.avg60, stall.avg300].into_iter().for_each(|share| self.u32(share.0));
            self.duration(stall.total);
        }
        self.byte(of_group.into());
    }

    fn system(&mut self, system: &Option<SystemMemory>) {
        self.byte(system.is_some().into());
        let of = system.unwrap_or_default();
        self.u64(of.total);
        self.u64(of.free);
        [of.available, of.active, of.inactive, of.buffers, of.cached, of.shared, of.slab, of.swap_total, of.swap_free]
            .into_iter()
            .for_each(|figure| self.optional(figure));
    }
}

struct Cut<'p, 'b> {
    left: usize,
    is_cut: bool,
    put: &'p mut Put<'b>,
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let mut end = text.len().min(self.left);
        self.is_cut = end < text.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.left -= end;
        self.put.bytes_of(&text.as_bytes()[..end]);
        Ok(())
    }
}

/// Reads what [`Put`] wrote, from bytes that begin at some place of a file.
#[derive(Debug)]
pub(crate) struct Take<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Where in the file `bytes` begin.
    base: usize,
}

impl<'b> Take<'b> {
    pub(crate) fn new(bytes: &'b [u8], base: usize) -> Self {
        Self { bytes, at: 0, base }
    }

    /// An error that names the place.
    pub(crate) fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::malformed(format!("at byte {}: {what}", self.base + self.at))
    }

    pub(crate) fn bytes_of(&mut self, count: usize) -> Result<&'b [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..count)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => Err(self.wrong(format_args!("{count} bytes are missing"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes_of(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A figure of a heap.
    fn figure(&mut self) -> Result<f64> {
        let number = f64::from_bits(self.u64()?);
        if FIGURES.contains(&number) { Ok(number) } else { Err(self.wrong("a figure that no heap has")) }
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.wrong(format_args!("{other} is neither yes nor no"))),
        }
    }

    pub(crate) fn optional(&mut self) -> Result<Option<u64>> {
        let is_some = self.flag()?;
        let number = self.u64()?;
        Ok(is_some.then_some(number))
    }

    pub(crate) fn duration(&mut self) -> Result<Duration> {
        self.u64().map(Duration::from_nanos)
    }

    pub(crate) fn time(&mut self) -> Result<SystemTime> {
        let nanos = self.u64()? as i64;
        let apart = Duration::from_nanos(nanos.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let time = if nanos < 0 { epoch.checked_sub(apart) } else { epoch.checked_add(apart) };
        time.ok_or_else(|| self.wrong("a time that is none"))
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let len = u16::from_le_bytes(self.array()?);
        let bytes = self.bytes_of(len.into())?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.wrong("a text that is not UTF-8"))
    }

    pub(crate) fn short(&mut self) -> Result<&'b [u8]> {
        let len = self.byte()?;
        self.bytes_of(len.into())
    }

    pub(crate) fn sums(&mut self) -> Result<Sums> {
        Ok(Sums {
            objects: self.u64()?,
            bytes: self.u64()?,
            estimated_objects: self.figure()?,
            estimated_bytes: self.figure()?,
            variance_objects: self.figure()?,
            variance_bytes: self.figure()?,
        })
    }

    pub(crate) fn reading(&mut self) -> Result<Reading> {
        let (time, uptime) = (self.time()?, self.duration()?);
        let process = ProcessMemory {
            rss: self.u64()?,
            virtual_size: self.u64()?,
            swap: self.optional()?,
            anonymous: self.optional()?,
            files: self.optional()?,
            shared_memory: self.optional()?,
            threads: self.optional()?,
        };
        let has_allocator = self.flag()?;
        let allocator = AllocatorMemory {
            allocated: self.u64()?,
            active: self.u64()?,
            resident: self.u64()?,
            mapped: self.u64()?,
            retained: self.u64()?,
            metadata: self.u64()?,
            metadata_index: self.optional()?,
            dirty: self.optional()?,
            muzzy: self.optional()?,
            thread_caches: self.optional()?,
        };
        let cgroup = CgroupMemory { limit: self.optional()?, usage: self.optional()? };
        let pressure = self.pressure()?;
        let events = CgroupEvents {
            low: self.optional()?,
            high: self.optional()?,
            max: self.optional()?,
            oom: self.optional()?,
            oom_kill: self.optional()?,
        };
        let system = self.system()?;
        let allocator = has_allocator.then_some(allocator);
        Ok(Reading { time, uptime, process, allocator, cgroup, pressure, events, system })
    }

    fn pressure(&mut self) -> Result<Option<Pressure>> {
        let is_some = self.flag()?;
        let pressure = Pressure { some: self.stall()?, full: self.stall()?, of_group: self.flag()? };
        Ok(is_some.then_some(pressure))
    }

    fn stall(&mut self) -> Result<Stall> {
        Ok(Stall {
            avg10: Share(self.u32()?),
            avg60: Share(self.u32()?),
            avg300: Share(self.u32()?),
            total: self.duration()?,
        })
    }

    fn system(&mut self) -> Result<Option<SystemMemory>> {
        let is_some = self.flag()?;
        let system = SystemMemory {
            total: self.u64()?,
            free: self.u64()?,
            available: self.optional()?,
            active: self.optional()?,
            inactive: self.optional()?,
            buffers: self.optional()?,
            cached: self.optional()?,
            shared: self.optional()?,
            slab: self.optional()?,
            swap_total: self.optional()?,
            swap_free: self.optional()?,
        };
        Ok(is_some.then_some(system))
    }
}
