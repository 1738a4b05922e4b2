//! An index of 3 MiB that one thread builds anew every 1.3 s while another searches the old one, which goes when the
//! last search in it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use crate::common::Random;
use crate::run::Run;

/// Ticks from one index to the next.
const PERIOD: u64 = 67;
/// Ticks that building takes.
const BUILDS: u64 = 20;
const ENTRIES_A_TICK: u64 = 150;
const SEARCHES_A_TICK: usize = 20;

type Index = BTreeMap<u64, Vec<u8>>;

pub fn serve(run: &Run) {
    let current = RwLock::new(Arc::new(Index::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| search(run, &current));
        rebuild(run, &current);
    });
}

fn rebuild(run: &Run, current: &RwLock<Arc<Index>>) {
    let mut next = Index::new();
    for tick in run.ticks() {
        match tick % PERIOD {
            step @ 0..BUILDS => add_entries(&mut next, step * ENTRIES_A_TICK),
            BUILDS => *current.write().expect("no thread panics with the lock") = Arc::new(std::mem::take(&mut next)),
            _ => {}
        }
    }
}

#[inline(never)]
fn add_entries(index: &mut Index, first: u64) {
    for number in first..first + ENTRIES_A_TICK {
        index.insert(number, vec![number as u8; 1000]);
    }
}

fn search(run: &Run, current: &RwLock<Arc<Index>>) {
    let mut random = Random::of_thread(1);
    let mut found = 0;
    for _ in run.ticks() {
        let index = Arc::clone(&current.read().expect("no thread panics with the lock"));
        for _ in 0..SEARCHES_A_TICK {
            found += usize::from(index.contains_key(&(random.next() % (BUILDS * ENTRIES_A_TICK))));
        }
    }
    assert!(found > 0, "nothing was found");
}
