//! What this run notes of itself for the next one.

use std::io::{self, Write};

use crate::policy::MOST_EPISODES;
use crate::snapshot::{
    EPISODE_BYTES, READING_BYTES, RunEpisode, RunFacts, RunId, RunReading, RunRecord, write_facts, write_record,
    write_run_episode, write_run_reading,
};
use crate::system::{Folder, FolderFile};

/// The last episodes, oldest first, with room for as many as there are.
pub(super) type Episodes = [Option<RunEpisode>; MOST_EPISODES];

/// The state file of this run, which it holds a lock of for as long as it lives.
#[derive(Debug)]
pub(super) struct Note {
    file: FolderFile,
    last: RunRecord,
    /// The number of the last reading in it.
    last_reading: u64,
    /// Those in it.
    episodes: Episodes,
    /// How often an episode was written.
    turn: u64,
}

impl Note {
    /// The name of a run's state file.
    pub(super) fn name(run: RunId) -> String {
        format!("{run}.run")
    }

    /// The same, without allocating.
    pub(super) fn name_in(run: RunId, buffer: &mut [u8; 32]) -> &str {
        let mut rest = &mut buffer[..];
        // Fits: the longest has 23 bytes.
        let _ = write!(rest, "{run}.run");
        let len = 32 - rest.len();
        std::str::from_utf8(&buffer[..len]).unwrap_or_default()
    }

    /// The run that a name belongs to, if it is a state file's.
    pub(super) fn parse(name: &str) -> Option<RunId> {
        name.strip_suffix(".run")?.parse().ok()
    }

    /// Makes the file of a run that begins, or goes on in a new folder: whole and locked before anybody finds it.
    pub(super) fn make(folder: &Folder, facts: &RunFacts, last: Option<RunRecord>) -> io::Result<Self> {
        let name = Self::name(facts.run);
        let temporary = format!(".{name}.tmp");
        let made = folder.create(&temporary).and_then(|file| {
            file.lock();
            file.write_at(&write_facts(facts)[..], 0)?;
            file.sync()?;
            folder.rename(&temporary, &name)?;
            folder.sync()?;
            Ok(file)
        });
        let file = made.inspect_err(|_| {
            // What cannot be removed is found by the next run.
            let _ = folder.remove(&temporary);
        })?;
        let first = RunRecord {
            number: 0,
            time: facts.started,
            reading: None,
            last_snapshot: 0,
            last_written: 0,
            oom_kills: None,
            said: None,
        };
        let last = last.unwrap_or(first);
        Ok(Self { file, last, last_reading: 0, episodes: [None; MOST_EPISODES], turn: 0 })
    }

    /// Notes what `change` makes of the last record; allocates nothing. It is not put on the disk: what a process wrote
    /// outlives it, and a machine that loses its power has other worries.
    pub(super) fn write(&mut self, change: impl FnOnce(&mut RunRecord)) -> io::Result<()> {
        change(&mut self.last);
        self.last.number += 1;
        let mut buffer = [0; 512];
        let at = write_record(&self.last, &mut buffer);
        // Again: whoever in this process opened and closed the file, as one who copies the folder, took the lock off it.
        self.file.lock();
        self.file.write_at(&buffer, at)
    }

    /// Notes one more reading; allocates nothing.
    pub(super) fn write_reading(&mut self, reading: &RunReading) -> io::Result<()> {
        let mut buffer = [0; READING_BYTES];
        let at = write_run_reading(reading, &mut buffer);
        self.file.write_at(&buffer, at)?;
        self.last_reading = reading.number;
        Ok(())
    }

    /// The number of the last reading that it has.
    pub(super) fn last_reading(&self) -> u64 {
        self.last_reading
    }

    /// Notes those of `episodes` that it has not as they are; allocates nothing.
    pub(super) fn write_episodes(&mut self, episodes: &Episodes) -> io::Result<()> {
        let news = |episode: &&RunEpisode| !self.episodes.contains(&Some(**episode));
        for episode in episodes.iter().flatten().filter(news) {
            let mut buffer = [0; EPISODE_BYTES];
            self.turn += 1;
            let at = write_run_episode(episode, self.turn, &mut buffer);
            self.file.write_at(&buffer, at)?;
        }
        self.episodes = *episodes;
        Ok(())
    }

    pub(super) fn last(&self) -> RunRecord {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::EpisodePoint;
    use crate::snapshot::{STATE_BYTES, empty_snapshot, read_state};
    use crate::system::thread_allocated;
    use std::time::{Duration, SystemTime};

    fn facts(run: RunId) -> RunFacts {
        RunFacts {
            run,
            started: SystemTime::UNIX_EPOCH,
            started_since_boot: Duration::ZERO,
            pid: 1,
            boot_id: String::new(),
            program: String::new(),
            build_id: None,
            version: String::new(),
            oom_file: String::new(),
            oom_file_number: 0,
        }
    }

    fn reading(number: u64) -> RunReading {
        let uptime = Duration::from_secs(number);
        let time = SystemTime::UNIX_EPOCH + uptime;
        RunReading { number, time, uptime, rss: number, cgroup_usage: Some(1), cpu_percent: None }
    }

    fn episode(id: u64, rss: u64) -> RunEpisode {
        let point = EpisodePoint { time: SystemTime::UNIX_EPOCH, uptime: Duration::ZERO, rss };
        RunEpisode { id, start: point, peak: point, end: None, taken: 1, highest: 1 }
    }

    #[test]
    fn what_is_noted_is_read_and_nothing_is_allocated_for_it() {
        let below = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_make(below.path()).unwrap();
        let run = RunId { number: 3, random: 4 };
        let mut note = Note::make(&folder, &facts(run), None).unwrap();
        let file = folder.open_file(&Note::name(run), false).unwrap();
        let read = || {
            let mut buffer = [0; STATE_BYTES + 1];
            read_state(file.read_at(&mut buffer, 0).unwrap()).unwrap()
        };
        let (allocated, mut buffer) = (|| thread_allocated().expect("this jemalloc counts"), [0; 32]);
        assert_eq!(Note::name_in(run, &mut buffer), Note::name(run));
        let last = empty_snapshot(1, 7).reading;
        let mut episodes: Episodes = [None; MOST_EPISODES];
        for number in 1..=130 {
            episodes[0] = Some(episode(1, number.min(60)));
            episodes[1] = (number > 70).then(|| episode(2, number));
            let before = allocated();
            note.write(|record| record.reading = Some(last)).unwrap();
            note.write_reading(&reading(number)).unwrap();
            note.write_episodes(&episodes).unwrap();
            Note::name_in(run, &mut buffer);
            assert_eq!(allocated() - before, 0, "bytes allocated while a poll is noted");
        }
        let state = read();
        assert_eq!(state.record.unwrap().reading, Some(last));
        assert_eq!(state.readings, (31..=130).map(reading).collect::<Vec<_>>());
        assert_eq!(state.episodes, [episode(1, 60), episode(2, 130)]);
        assert_eq!(note.turn, 60 + 60, "one that is as it was is not written again");
    }
}
