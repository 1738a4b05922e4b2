//! A cache of 3 MiB that drops what was used longest ago: full after a third of the run, then in steady turnover.

use std::collections::{BTreeMap, HashMap};

use crate::common::Random;
use crate::run::Run;

const CAPACITY: usize = 768;
const REQUESTS_A_TICK: usize = 8;
/// So many pages are asked for, at random: more than there is room for.
const PAGES: usize = 4000;

#[derive(Debug, Default)]
struct LruCache {
    /// Each page with when it was last used.
    pages: HashMap<usize, (u64, Vec<u8>)>,
    by_use: BTreeMap<u64, usize>,
    clock: u64,
}

impl LruCache {
    fn page(&mut self, number: usize) -> &[u8] {
        self.clock += 1;
        let (used, page) = self.pages.entry(number).or_insert_with(|| (0, load_page(number)));
        self.by_use.remove(used);
        self.by_use.insert(self.clock, number);
        *used = self.clock;
        page
    }

    fn drop_oldest(&mut self) {
        while self.pages.len() > CAPACITY {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.pages.remove(&oldest);
        }
    }
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut cache = LruCache::default();
    for _ in run.ticks() {
        for _ in 0..REQUESTS_A_TICK {
            assert_eq!(cache.page(random.within(0..PAGES)).len(), 4096);
            cache.drop_oldest();
        }
    }
}

#[inline(never)]
fn load_page(number: usize) -> Vec<u8> {
    vec![number as u8; 4096]
}
