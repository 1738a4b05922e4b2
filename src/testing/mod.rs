//! For a service's own tests: that something does not leak.
//!
//! ```
//! use std::collections::HashMap;
//! use heapward::testing::assert_no_growth;
//!
//! // In the test's own file, once. The last number is for a sample in every 4 KiB instead of 512.
//! heapward::install!("lg_prof_sample:12");
//!
//! # fn main() {
//! // A cache that forgets.
//! let mut cache = HashMap::new();
//! let mut round = 0;
//! assert_no_growth!(400, || {
//!     round += 1;
//!     cache.insert(round % 50, vec![0u8; 2000]);
//! });
//! # }
//! ```
//!
//! One that does not is found, and named:
//!
//! ```should_panic
//! # use std::collections::HashMap;
//! # use heapward::testing::assert_no_growth;
//! # heapward::install!("lg_prof_sample:12");
//! # fn main() {
//! let mut sessions = HashMap::new();
//! let mut round = 0;
//! assert_no_growth!(400, || {
//!     round += 1;
//!     sessions.insert(round, vec![0u8; 2000]);
//! });
//! # }
//! ```

mod growth;
mod growth_check;
mod limit;
mod rounds;
mod turn;

pub use growth::Growth;
pub use growth_check::GrowthCheck;
pub use limit::DEFAULT_BYTES_A_ROUND;
pub use rounds::check_growth;

/// Runs a closure again and again, and panics where memory grows without bound from round to round: with the site, how
/// much grew with its 95% interval, and the stack that holds most of it.
///
/// `assert_no_growth!(rounds, || …)` looks for leaks of [1 KiB](DEFAULT_BYTES_A_ROUND) a round and more;
/// `assert_no_growth!(rounds, || …, bytes)` for others. A leak is found when it comes to 36 sample intervals over all rounds
/// (of those that come to no more, one in 900 was missed): 144 KiB at `lg_prof_sample:12`, which 400 rounds reach at 369
/// bytes a round, and 18 MiB at the usual `lg_prof_sample:19`, which takes 18,432 rounds at 1 KiB. Where rounds × bytes come
/// to less, the macro panics and says what to change; where it passes, it prints what may have gone unseen. At least 16
/// rounds.
///
/// What the first rounds set up and keep, and what a cache holds once it is full, is not held against it. Time is counted in
/// rounds: how long one takes makes no difference.
///
/// The test's binary needs [`install!`](crate::install!). Other tests that run meanwhile on threads of the test harness
/// are not looked at; what their own threads do would be, so a test with many belongs into a file of its own.
///
/// # Panics
///
/// When something grows; and when it cannot tell, which is everything that [`check_growth`] has an error for: sampling that
/// is too coarse, is not there or was switched off meanwhile, samples that found no room, another check around this one.
#[macro_export]
macro_rules! assert_no_growth {
    ($rounds:expr, $work:expr $(,)?) => {
        $crate::assert_no_growth!($rounds, $work, $crate::testing::DEFAULT_BYTES_A_ROUND)
    };
    ($rounds:expr, $work:expr, $bytes_a_round:expr $(,)?) => {
        match $crate::testing::check_growth($rounds, $work, $bytes_a_round) {
            Ok(check) if check.growth().is_some() => panic!("{check}"),
            // Shown with a test that fails, and with --nocapture.
            Ok(check) => eprintln!("heapward: {check}"),
            Err(error) => panic!("heapward cannot tell whether memory grows: {error}"),
        }
    };
}

pub use assert_no_growth;
