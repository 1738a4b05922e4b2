//! What leak can be seen at a sample interval.

use crate::error::{Error, Result};

/// What [`assert_no_growth!`](crate::assert_no_growth!) looks for unless it is told otherwise: a leak of so many bytes a
/// round.
pub const DEFAULT_BYTES_A_ROUND: u64 = 1024;

/// A leak of so many sample intervals over all rounds is found. Nine are what sampling can tell from chance at all
/// (z = 3), but chance must also have spread the samples over the rounds. Of plain leaks of small objects 61% were missed at
/// 9 intervals (100 runs of 400 rounds), 1.8% at 24 and 0.5% at 27 and 28 (300 runs each of 400 and of 64 rounds), 1 of 900 at 36 (300
/// runs each of 400, 64 and 16 rounds), and none of 600 at 195.
const LEAST_INTERVALS: u64 = 36;

/// So many bytes a round are seen if they leak, sampled once in `interval` bytes.
pub(super) fn seen_from(interval: u64, rounds: usize) -> u64 {
    LEAST_INTERVALS.saturating_mul(interval).div_ceil(rounds as u64)
}

/// An error that names the remedies if a leak of so many bytes a round may go unseen, sampled once in `interval` bytes.
pub(super) fn require(interval: u64, rounds: usize, bytes_a_round: u64) -> Result<()> {
    if bytes_a_round == 0 {
        return Err(Error::config("bytes a round is 0: allowed is 1 and more"));
    }
    let total = bytes_a_round.saturating_mul(rounds as u64);
    let needed = LEAST_INTERVALS.saturating_mul(interval);
    if total >= needed {
        return Ok(());
    }
    let finer = match (total / LEAST_INTERVALS).checked_ilog2() {
        Some(lg) => {
            format!("sample more often, with heapward::install!(\"lg_prof_sample:{lg}\") in the test's file, or ")
        }
        None => String::new(),
    };
    Err(Error::config(format!(
        "a leak of {bytes_a_round} bytes a round comes to {total} bytes in {rounds} rounds, and with one sample in {interval} \
         bytes it takes {needed} to be found: {finer}run {} rounds, or say that only {} bytes a round matter, as the third \
         argument",
        needed.div_ceil(bytes_a_round),
        seen_from(interval, rounds)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_is_just_enough() {
        let refused = |lg: u32, rounds, bytes| require(1 << lg, rounds, bytes).err().map(|error| error.to_string());
        assert_eq!(refused(12, 400, 1024), None);
        let error = refused(19, 400, 1024).unwrap();
        println!("{error}");
        let named: Vec<u64> = error.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
        let [_, _, _, _, _, lg, rounds, bytes] = named[..] else { panic!("{named:?}") };
        assert_eq!([lg, rounds, bytes], [13, 18_432, 47_186]);
        assert!(refused(lg as u32, 400, 1024).is_none() && refused(lg as u32 + 1, 400, 1024).is_some(), "{error}");
        assert!(refused(19, rounds as usize, 1024).is_none(), "{error}");
        assert!(refused(19, rounds as usize - 1, 1024).is_some(), "{error}");
        assert!(refused(19, 400, bytes).is_none() && refused(19, 400, bytes - 1).is_some(), "{error}");
        // No interval is fine enough for less than one byte.
        assert!(!refused(19, 16, 1).unwrap().contains("install"), "16 bytes in all");
        assert!(refused(19, 16, 0).unwrap().contains("bytes a round is 0"));
        assert_eq!(refused(19, 400, u64::MAX), None);
    }
}
