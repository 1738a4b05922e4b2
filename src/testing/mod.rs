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
mod rounds;

pub use growth::Growth;
pub use rounds::check_growth;

/// Runs a closure again and again, and panics where memory grows without bound from round to round: with the site, how
/// much grew with its 95% interval, and the stack that holds most of it.
///
/// `assert_no_growth!(rounds, || …)`; at least 8 rounds, and the more there are the smaller a leak is seen: about nine
/// sample intervals in all, so 36 KiB over all rounds at `lg_prof_sample:12`. What the first rounds set up and keep,
/// and what a cache holds once it is full, is not held against it.
///
/// The test's binary needs [`install!`](crate::install!). Other tests that run meanwhile on threads of the test harness
/// are not looked at; what their own threads do would be, so a test with many belongs into a file of its own.
///
/// # Panics
///
/// When something grows; and when it cannot tell, as without [`install!`](crate::install!) or with too few rounds.
#[macro_export]
macro_rules! assert_no_growth {
    ($rounds:expr, $work:expr $(,)?) => {
        match $crate::testing::check_growth($rounds, $work) {
            Ok(None) => {}
            Ok(Some(growth)) => panic!("{growth}"),
            Err(error) => panic!("heapward cannot tell whether memory grows: {error}"),
        }
    };
}

pub use assert_no_growth;
