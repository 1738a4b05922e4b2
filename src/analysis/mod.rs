//! Pure arithmetic over snapshots and profiles.

<<<<<<< HEAD
<<<<<<< HEAD
mod change;
pub(crate) mod growth;
mod leaks;
=======
mod detection;
mod false_discovery;
>>>>>>> wt-numbers
=======
mod rss;
>>>>>>> wt-rss
mod series;
mod significance;
mod top;
mod verdict;

<<<<<<< HEAD
<<<<<<< HEAD
pub(crate) use change::{Change, Side, changes};
pub(crate) use leaks::{History, Leaks, LetGo, Suspect, find as find_leaks};
pub(crate) use series::{Membership, Point, Series, levels, series};
pub use top::Site;
pub(crate) use top::{Top, TopRow};
=======
pub(crate) use detection::detection_limit;
pub(crate) use false_discovery::{Tested, benjamini_hochberg};
=======
pub(crate) use rss::{Breakdown, Own, SMALL_BYTES};
>>>>>>> wt-rss
pub(crate) use series::{Point, Series};
pub(crate) use significance::Significance;
pub(crate) use top::{Site, Top, TopRow};
<<<<<<< HEAD
>>>>>>> wt-numbers
=======
pub(crate) use verdict::{HeapGrowth, Verdict};
>>>>>>> wt-rss
