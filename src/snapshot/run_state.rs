//! What a run leaves beside its snapshots, so that the next one can say how it ended: pure bytes.
//!
//! ```text
//! 0     magic, version, facts that do not change    2048 bytes
//! 2048  record                                       512 bytes
//! 2560  record                                       512 bytes
//! 3072  how it ended, by the run that saw it first  1024 bytes
//! 4096  its last readings and episodes             11520 bytes
//! ```
//!
//! Each part is a checksum, a length and as many bytes. Records are written in turn, so that the other one is whole when the
//! process is killed within a write. A file is of one size from its start: a full disk takes no record away. Version 1 ends before
//! the last readings; it is read as well.

use std::time::{Duration, SystemTime};

use super::RunId;
use super::file::{Put, Take, crc};
use super::run_trail::{
    self, EPISODE_BYTES, READING_BYTES, RunEpisode, RunReading, TRAIL_BYTES, read_trail, write_episode,
};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{Certainty, EndOfRun, How};
use crate::profile::{BuildId, Reading};

/// A state file.
pub(crate) const STATE_BYTES: usize = TRAIL + TRAIL_BYTES;

/// Where the last readings and episodes begin; there was no more in version 1.
const TRAIL: usize = 4096;

const MAGIC: [u8; 8] = *b"HWRUN\r\n\0";
const VERSION: u32 = 2;

/// A part of the file.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    len: usize,
}

const FACTS: Part = Part { start: 0, len: 2048 };
const RECORDS: [Part; 2] = [Part { start: 2048, len: 512 }, Part { start: 2560, len: 512 }];
const END: Part = Part { start: 3072, len: 1024 };

/// Before the bytes of a part: checksum and length.
const PART_HEAD: usize = 6;

/// What does not change while a run lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunFacts {
    pub(crate) run: RunId,
    pub(crate) started: SystemTime,
    /// The same, since the machine was booted.
    pub(crate) started_since_boot: Duration,
    pub(crate) pid: u32,
    /// Empty where the kernel does not say.
    pub(crate) boot_id: String,
    pub(crate) program: String,
    pub(crate) build_id: Option<BuildId>,
    /// heapward's.
    pub(crate) version: String,
    /// The file that counts kills for memory in its control group; empty where there is none.
    pub(crate) oom_file: String,
    /// Its number in its filesystem: another group of the same name has another.
    pub(crate) oom_file_number: u64,
}

/// What a run noted last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RunRecord {
    /// Rises with every record.
    pub(crate) number: u64,
    pub(crate) time: SystemTime,
    pub(crate) reading: Option<Reading>,
    /// The last snapshot, and the last of those on disk; 0 before the first.
    pub(crate) last_snapshot: u64,
    pub(crate) last_written: u64,
    /// Kills for memory in its control group.
    pub(crate) oom_kills: Option<u64>,
    /// How it says that it ends.
    pub(crate) said: Option<How>,
}

/// A state file that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunState {
    pub(crate) facts: RunFacts,
    /// `None` where it was killed before the first.
    pub(crate) record: Option<RunRecord>,
    /// What a later run made of it.
    pub(crate) end: Option<EndOfRun>,
    /// The last ones, oldest first; none of a run of version 1.
    pub(crate) readings: Vec<RunReading>,
    /// The last ones, oldest first; the last one may have gone on. None of a run of version 1.
    pub(crate) episodes: Vec<RunEpisode>,
}

/// A whole file of a run that begins.
pub(crate) fn write_facts(facts: &RunFacts) -> Box<[u8; STATE_BYTES]> {
    let mut bytes = Box::new([0; STATE_BYTES]);
    put_facts(&mut bytes[..], facts, VERSION);
    bytes
}

fn put_facts(bytes: &mut [u8], facts: &RunFacts, version: u32) {
    part(&mut bytes[FACTS.start..][..FACTS.len], |put| {
        put.bytes_of(&MAGIC);
        put.u32(version);
        put.u32(facts.run.number);
        put.u32(facts.run.random);
        put.time(facts.started);
        put.duration(facts.started_since_boot);
        put.u32(facts.pid);
        put.text(64, &facts.boot_id);
        put.text(800, &facts.program);
        put.short(facts.build_id.as_ref().map_or(&[], |id| &id.0));
        put.text(64, &facts.version);
        put.text(600, &facts.oom_file);
        put.u64(facts.oom_file_number);
    });
}

/// The bytes of `record` and where they go; allocates nothing.
pub(crate) fn write_record(record: &RunRecord, buffer: &mut [u8; 512]) -> u64 {
    part(&mut buffer[..], |put| {
        put.u64(record.number);
        put.time(record.time);
        put.byte(record.reading.is_some().into());
        put.u64(record.last_snapshot);
        put.u64(record.last_written);
        put.optional(record.oom_kills);
        put.byte(record.said.map_or(0, number_of));
        if let Some(reading) = &record.reading {
            put.reading(reading);
        }
    });
    RECORDS[(record.number % 2) as usize].start as u64
}

/// The bytes of `reading` and where they go; allocates nothing.
pub(crate) fn write_run_reading(reading: &RunReading, buffer: &mut [u8; READING_BYTES]) -> u64 {
    (TRAIL + run_trail::write_reading(reading, buffer)) as u64
}

/// The bytes of `episode` and where they go; allocates nothing. `turn` rises by one each time that one is written.
pub(crate) fn write_run_episode(episode: &RunEpisode, turn: u64, buffer: &mut [u8; EPISODE_BYTES]) -> u64 {
    (TRAIL + write_episode(episode, turn, buffer)) as u64
}

/// The bytes of `end`, found out from the record with this number (0: from none), and where they go.
pub(crate) fn write_end(end: &EndOfRun, record: u64) -> (Box<[u8; 1024]>, u64) {
    let mut bytes = Box::new([0; 1024]);
    part(&mut bytes[..], |put| {
        put.byte(number_of(end.how));
        put.byte(u8::from(end.certainty == Certainty::Sure));
        put.text(900, &end.why);
        put.u64(record);
    });
    (bytes, END.start as u64)
}

/// What is in `bytes`, a whole file.
///
/// # Errors
///
/// [`ErrorKind::Malformed`] where its facts are damaged, [`ErrorKind::NewerFormat`] where a newer heapward wrote it; a damaged
/// record counts as none.
pub(crate) fn read_state(bytes: &[u8]) -> Result<RunState> {
    let cut =
        |expect| Err(Error::malformed(format!("at byte {}: the file ends here, and should at {expect}", bytes.len())));
    if ![TRAIL, STATE_BYTES].contains(&bytes.len()) {
        check_version(&bytes[PART_HEAD.min(bytes.len())..])?;
        return cut(STATE_BYTES);
    }
    let (version, facts) = facts(&mut content_of(bytes, FACTS)?)?;
    let expect = if version == VERSION { STATE_BYTES } else { TRAIL };
    if bytes.len() != expect {
        return cut(expect);
    }
    let records =
        RECORDS.into_iter().filter_map(|part| content_of(bytes, part).and_then(|mut take| record(&mut take)).ok());
    let record = records.max_by_key(|record| record.number);
    let number = record.map_or(0, |record| record.number);
    // A run that went on after somebody took it for ended, as a lock was lost, had another end.
    let end = content_of(bytes, END)
        .and_then(|mut take| end(&mut take))
        .ok()
        .filter(|(_, of)| of.unwrap_or(number) == number);
    let end = end.map(|(end, _)| end);
    let (readings, episodes) = read_trail(&bytes[TRAIL..], TRAIL);
    Ok(RunState { facts, record, end, readings, episodes })
}

/// Fills `bytes` with one part.
pub(super) fn part(bytes: &mut [u8], fill: impl FnOnce(&mut Put<'_>)) {
    let (head, content) = bytes.split_at_mut(PART_HEAD);
    let mut put = Put::new(content);
    fill(&mut put);
    let len = put.bytes().len();
    head[4..].copy_from_slice(&(len as u16).to_le_bytes());
    let crc = crc(&bytes[4..PART_HEAD + len]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

fn content_of(bytes: &[u8], part: Part) -> Result<Take<'_>> {
    content(&bytes[part.start..part.start + part.len], part.start)
}

/// What is in the part that `of` is, which begins at `place` of its file.
pub(super) fn content(of: &[u8], place: usize) -> Result<Take<'_>> {
    let len = usize::from(u16::from_le_bytes([of[4], of[5]]));
    let checked = of.get(4..PART_HEAD + len).filter(|checked| crc(checked).to_le_bytes() == of[..4]);
    let checked = checked.ok_or_else(|| Error::malformed(format!("at byte {place}: the checksum is wrong")))?;
    Ok(Take::new(&checked[2..], place + PART_HEAD))
}

/// Them, and the version of the file.
fn facts(take: &mut Take<'_>) -> Result<(u32, RunFacts)> {
    if take.bytes_of(8)? != MAGIC {
        return Err(take.wrong("this is no record of a run"));
    }
    let version = match take.u32()? {
        known @ 1..=VERSION => known,
        other => return Err(other_version(other)),
    };
    let facts = RunFacts {
        run: RunId { number: take.u32()?, random: take.u32()? },
        started: take.time()?,
        started_since_boot: take.duration()?,
        pid: take.u32()?,
        boot_id: take.text()?,
        program: take.text()?,
        build_id: Some(take.short()?).filter(|id| !id.is_empty()).map(|id| BuildId(id.into())),
        version: take.text()?,
        oom_file: take.text()?,
        oom_file_number: take.u64()?,
    };
    Ok((version, facts))
}

/// An error where `facts`, of a file of another size, begin as those of a newer version.
fn check_version(facts: &[u8]) -> Result<()> {
    let version =
        facts.strip_prefix(&MAGIC).and_then(|rest| rest.first_chunk()).map(|version| u32::from_le_bytes(*version));
    match version {
        Some(version) if version > VERSION => Err(other_version(version)),
        _ => Ok(()),
    }
}

fn other_version(version: u32) -> Error {
    let message = format!("format version {version}, and this heapward reads versions 1 to {VERSION} alone");
    Error::new(if version > VERSION { ErrorKind::NewerFormat } else { ErrorKind::Malformed }, message)
}

fn record(take: &mut Take<'_>) -> Result<RunRecord> {
    let (number, time, has_reading) = (take.u64()?, take.time()?, take.flag()?);
    let (last_snapshot, last_written, oom_kills) = (take.u64()?, take.u64()?, take.optional()?);
    let said = how_of(take.byte()?);
    let reading = if has_reading { Some(take.reading()?) } else { None };
    Ok(RunRecord { number, time, reading, last_snapshot, last_written, oom_kills, said })
}

/// Also the number of the record that it was found out from, which version 1 did not tell.
fn end(take: &mut Take<'_>) -> Result<(EndOfRun, Option<u64>)> {
    let how = how_of(take.byte()?).ok_or_else(|| take.wrong("an end that is not known"))?;
    let certainty = if take.flag()? { Certainty::Sure } else { Certainty::Likely };
    let end = EndOfRun { how, certainty, why: take.text()? };
    Ok((end, take.u64().ok()))
}

/// From 1, as 0 is none.
fn number_of(how: How) -> u8 {
    How::ALL.iter().position(|known| *known == how).map_or(0, |at| at as u8 + 1)
}

fn how_of(number: u8) -> Option<How> {
    How::ALL.get(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::EpisodePoint;
    use crate::snapshot::empty_snapshot;

    fn facts() -> RunFacts {
        RunFacts {
            run: RunId { number: 4, random: 9 },
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_283_516),
            started_since_boot: Duration::from_millis(77),
            pid: 4711,
            boot_id: "365b7525-2625-4429-8fbb-0f3e62c0592d".to_owned(),
            program: "x".repeat(2000),
            build_id: Some(BuildId([7; 20].into())),
            version: "0.1.0".to_owned(),
            oom_file: "/sys/fs/cgroup/memory.events".to_owned(),
            oom_file_number: 99,
        }
    }

    fn record(number: u64) -> RunRecord {
        let reading = number.is_multiple_of(2).then(|| empty_snapshot(1, 50 << 20).reading);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
        RunRecord { number, time, reading, last_snapshot: 3, last_written: 2, oom_kills: Some(1), said: None }
    }

    fn put(bytes: &mut [u8; STATE_BYTES], record: &RunRecord) {
        let mut buffer = [0; 512];
        let at = write_record(record, &mut buffer) as usize;
        bytes[at..at + 512].copy_from_slice(&buffer);
    }

    #[test]
    fn the_last_whole_record_counts() {
        let mut bytes = write_facts(&facts());
        let expect = RunFacts { program: "x".repeat(800), ..facts() };
        let state =
            RunState { facts: expect.clone(), record: None, end: None, readings: Vec::new(), episodes: Vec::new() };
        assert_eq!(read_state(&bytes[..]).unwrap(), state);
        for number in 1..5 {
            put(&mut bytes, &record(number));
            assert_eq!(read_state(&bytes[..]).unwrap().record, Some(record(number)));
        }
        // Killed within writing the fifth, which is in the second place.
        for cut in 0..60 {
            let mut torn = bytes.clone();
            let mut buffer = [0; 512];
            let at = write_record(&RunRecord { said: Some(How::Clean), ..record(5) }, &mut buffer) as usize;
            torn[at..at + cut].copy_from_slice(&buffer[..cut]);
            let said = read_state(&torn[..]).unwrap().record.unwrap();
            assert!(said == record(4) || said.said == Some(How::Clean), "{cut}: {said:?}");
        }
        let end = EndOfRun { how: How::KilledForMemory, certainty: Certainty::Likely, why: "so".to_owned() };
        // One that was found out before the last record.
        let (part, at) = write_end(&end, 3);
        bytes[at as usize..][..1024].copy_from_slice(&part[..]);
        assert_eq!(read_state(&bytes[..]).unwrap().end, None);
        let (part, at) = write_end(&end, 4);
        bytes[at as usize..][..1024].copy_from_slice(&part[..]);
        let state = read_state(&bytes[..]).unwrap();
        assert_eq!((state.facts, state.record, state.end), (expect, Some(record(4)), Some(end)));
    }

    #[test]
    fn readings_and_episodes_are_beside_the_rest() {
        let mut bytes = write_facts(&facts());
        put(&mut bytes, &record(2));
        let (part, at) =
            write_end(&EndOfRun { how: How::NotClean, certainty: Certainty::Sure, why: "so".to_owned() }, 2);
        bytes[at as usize..][..1024].copy_from_slice(&part[..]);
        let before = read_state(&bytes[..]).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        let point = EpisodePoint { time, uptime: Duration::from_secs(1), rss: 5 };
        let reading =
            RunReading { number: 1, time, uptime: point.uptime, rss: 7, cgroup_usage: None, cpu_percent: Some(2.5) };
        let episode = RunEpisode { id: 1, start: point, peak: point, end: None, taken: 1, highest: 3 };
        // The first place, and the last.
        for number in [1, 99] {
            let mut buffer = [0; READING_BYTES];
            let at = write_run_reading(&RunReading { number, ..reading }, &mut buffer) as usize;
            bytes[at..][..READING_BYTES].copy_from_slice(&buffer);
        }
        for id in [1, 19] {
            let mut buffer = [0; EPISODE_BYTES];
            let at = write_run_episode(&RunEpisode { id, ..episode }, 1, &mut buffer) as usize;
            bytes[at..][..EPISODE_BYTES].copy_from_slice(&buffer);
        }
        let readings = [1, 99].map(|number| RunReading { number, ..reading }).to_vec();
        let episodes = [1, 19].map(|id| RunEpisode { id, ..episode }).to_vec();
        assert_eq!(read_state(&bytes[..]).unwrap(), RunState { readings, episodes, ..before });
    }

    #[test]
    fn version_1_is_read_and_a_later_one_refused() {
        let as_version = |version, len: usize| {
            let mut bytes = vec![0; len];
            put_facts(&mut bytes, &facts(), version);
            let mut buffer = [0; 512];
            let at = write_record(&record(4), &mut buffer) as usize;
            bytes[at..at + 512].copy_from_slice(&buffer);
            read_state(&bytes)
        };
        let old = as_version(1, 4096).unwrap();
        assert_eq!((old.facts.pid, old.record), (4711, Some(record(4))));
        assert_eq!((old.readings.len(), old.episodes.len()), (0, 0));
        assert!(as_version(2, STATE_BYTES).is_ok());
        for (version, len) in [(1, STATE_BYTES), (1, 4097), (2, 4096), (2, STATE_BYTES + 1)] {
            let error = as_version(version, len).unwrap_err().to_string();
            assert!(error.contains("the file ends here, and should at"), "{error}");
        }
        for other in [0, 3] {
            let error = as_version(other, STATE_BYTES).unwrap_err().to_string();
            let expect = format!("format version {other}, and this heapward reads versions 1 to 2 alone");
            assert!(error.ends_with(&expect), "{error}");
        }
    }

    #[test]
    fn damaged_facts_are_an_error_with_its_place() {
        let bytes = write_facts(&facts());
        assert_eq!(
            read_state(&bytes[..100]).unwrap_err().to_string(),
            "at byte 100: the file ends here, and should at 15616"
        );
        assert_eq!(
            read_state(&bytes[..TRAIL]).unwrap_err().to_string(),
            "at byte 4096: the file ends here, and should at 15616"
        );
        for at in 0..900 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 16;
            assert_eq!(read_state(&damaged[..]).unwrap_err().to_string(), "at byte 0: the checksum is wrong", "{at}");
        }
    }

    #[test]
    fn a_record_of_a_newer_heapward_is_told_from_a_damaged_one() {
        let bytes = write_facts(&facts());
        let version = |version: u32, len: usize| {
            let mut bytes = bytes.to_vec();
            bytes[PART_HEAD + 8..][..4].copy_from_slice(&version.to_le_bytes());
            let checked = PART_HEAD + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
            let crc = crc(&bytes[4..checked]);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            bytes.resize(len, 0);
            read_state(&bytes).unwrap_err()
        };
        for len in [STATE_BYTES, STATE_BYTES + 1, 100] {
            let newer = version(VERSION + 1, len);
            assert_eq!(newer.kind(), ErrorKind::NewerFormat, "{len}");
            let expect =
                format!("format version {}, and this heapward reads versions 1 to {VERSION} alone", VERSION + 1);
            assert!(newer.to_string().ends_with(&expect), "{newer}");
            assert_eq!(version(0, len).kind(), ErrorKind::Malformed, "{len}");
        }
        assert_eq!(version(VERSION, 100).kind(), ErrorKind::Malformed);
        assert_eq!(read_state(b"half").unwrap_err().kind(), ErrorKind::Malformed);
    }
}
