//! Names of files: they sort by time, and say what is in them.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::fields::Put;
use crate::snapshot::RunId;

/// What a file's name says: `20261121T175156.123Z.12-9f3c0a1b.000007.rss_above_threshold.104857600.heapward` is snapshot 7 of
/// run 12-9f3c0a1b, taken at that time for that reason at an RSS of 100 MiB. Small and without a heap of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileName {
    /// Milliseconds since 1970. Never before that of an earlier snapshot of the run, also where the clock went back: the
    /// time of the snapshot is in the file.
    pub(crate) millis: u64,
    pub(crate) run: RunId,
    pub(crate) id: u64,
    pub(crate) reason: ReasonName,
    pub(crate) rss: u64,
}

/// A reason's one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReasonName {
    bytes: [u8; MOST],
    len: u8,
}

const MOST: usize = 40;
const EXTENSION: &str = "heapward";
/// The last millisecond of the year 9999, after which names would no longer sort.
const MOST_MILLIS: u64 = 253_402_300_799_999;

impl ReasonName {
    /// `word`, where it can be part of a name: else `unnamed`.
    pub(crate) fn of(word: &str) -> Self {
        let is_good = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        let fits = (1..=MOST).contains(&word.len()) && word.as_bytes().iter().all(is_good);
        let word = if fits { word } else { "unnamed" };
        let mut bytes = [0; MOST];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        Self { bytes, len: word.len() as u8 }
    }

    pub(crate) fn as_str(&self) -> &str {
        // Made of a str, which was not cut.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for ReasonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FileName {
    /// The longest name.
    pub(crate) const MOST_BYTES: usize = 160;

    /// Milliseconds of `time`, as far as names can say it.
    pub(crate) fn millis_of(time: SystemTime) -> u64 {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).min(MOST_MILLIS)
    }

    /// When, by the name.
    pub(crate) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.millis.min(MOST_MILLIS))
    }

    /// Writes it into `buffer`; allocates nothing.
    pub(crate) fn write<'b>(&self, buffer: &'b mut [u8; Self::MOST_BYTES]) -> &'b str {
        let mut put = Put::new(buffer);
        put.text(Self::MOST_BYTES as u16 - 2, self);
        let end = put.bytes().len();
        std::str::from_utf8(&buffer[2..end]).unwrap_or_default()
    }

    /// What `name` says, if it is the name of a snapshot.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
        let mut parts = rest.rsplitn(5, '.');
        let (rss, reason, id, run, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let reason = Some(ReasonName::of(reason)).filter(|known| known.as_str() == reason)?;
        let millis = millis(time)?;
        let found = Self { millis, run: run.parse().ok()?, id: id.parse().ok()?, reason, rss: rss.parse().ok()? };
        // One spelling for each: what is found in the folder is found there again by its parts.
        (found.write(&mut [0; Self::MOST_BYTES]) == name).then_some(found)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, millis) = (self.millis / 86_400_000, self.millis % 86_400_000);
        let (year, month, day) = date(days);
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{millis:03}Z.{}.{:06}.{:?}.{}.{EXTENSION}",
            self.run, self.id, self.reason, self.rss
        )
    }
}

/// The inverse of what [`FileName`] prints for a time.
fn millis(text: &str) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second, millis) = (digits(9..11)?, digits(11..13)?, digits(13..15)?, digits(16..19)?);
    let days = days(year, month, day)?;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + millis)
}

/// Year, month and day of a day since 1970. Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`, for days from 1970 on. chrono's own printing allocates.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The day since 1970 of a date: `days_from_civil` of the same page.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    fn name(millis: u64, id: u64) -> FileName {
        let run = RunId { number: 12, random: 0x9f3c_0a1b };
        FileName { millis, run, id, reason: ReasonName::of("rss_above_threshold"), rss: 100 << 20 }
    }

    #[test]
    fn a_name_reads_as_it_prints() {
        let one = name(1_795_283_516_123, 7);
        let text = "20261121T175156.123Z.12-9f3c0a1b.000007.rss_above_threshold.104857600.heapward";
        assert_eq!(one.to_string(), text);
        assert_eq!(one.write(&mut [0; FileName::MOST_BYTES]), text);
        assert_eq!(FileName::parse(text), Some(one));
        for wrong in [
            "",
            "README.md",
            ".heapward",
            "20261121T175156.123Z.12-9f3c0a1b.7.rss_above_threshold.104857600.heapward",
            "20261121T175156.123Z.12-9f3c0a1b.000007.Rss.104857600.heapward",
            "20261121T175156.123Z.12-9f3c0a1b.000007.rss/../x.104857600.heapward",
            "20261141T175156.123Z.12-9f3c0a1b.000007.rss_above_threshold.104857600.heapward",
            "20261121T175156.123Z.12-9f3c0a1b.000007.rss_above_threshold.-1.heapward",
            "20261121T175156.123Z.12-9f3c0a1b.000007.rss_above_threshold.104857600.heapward.tmp",
            "20261121T175156.123Z.012-9f3c0a1b.000007.rss_above_threshold.104857600.heapward",
        ] {
            assert_eq!(FileName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_sort_by_time_and_dates_are_chronos() {
        let mut last = String::new();
        let steps = (0..400_000u64).map(|step| step * 633_437_219);
        for millis in steps.take_while(|millis| *millis <= MOST_MILLIS).chain([MOST_MILLIS]) {
            let text = name(millis, 1).to_string();
            assert!(text > last, "{text} after {last}");
            let time = DateTime::<Utc>::from(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert!(text.starts_with(&time.format("%Y%m%dT%H%M%S%.3fZ.").to_string()), "{text} {time}");
            assert_eq!(FileName::parse(&text).map(|name| name.millis), Some(millis));
            last = text;
        }
        assert!(name(5, 9).to_string() < name(5, 10).to_string());
    }

    #[test]
    fn the_longest_name_fits() {
        let run = RunId { number: u32::MAX, random: u32::MAX };
        let reason = ReasonName::of(&"x".repeat(MOST));
        let longest = FileName { millis: MOST_MILLIS, run, id: u64::MAX, reason, rss: u64::MAX };
        assert_eq!(longest.write(&mut [0; FileName::MOST_BYTES]), longest.to_string());
        assert_eq!(FileName::parse(&longest.to_string()), Some(longest));
        assert_eq!(ReasonName::of("Über").as_str(), "unnamed");
    }
}
