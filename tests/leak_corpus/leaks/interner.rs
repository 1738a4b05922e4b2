//! An interner for what clients call themselves, which remembers each name that it was ever shown: about 170 KiB/s.

use std::collections::HashMap;
use std::sync::Arc;

use crate::common::Random;
use crate::run::Run;

const REQUESTS_A_TICK: usize = 16;

#[derive(Debug, Default)]
struct Interner {
    numbers: HashMap<Arc<str>, usize>,
    names: Vec<Arc<str>>,
}

impl Interner {
    /// The bug: names that were seen once are kept for ever.
    #[inline(never)]
    fn intern(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name: Arc<str> = Arc::from(name);
        self.numbers.insert(Arc::clone(&name), self.names.len());
        self.names.push(name);
        self.names.len() - 1
    }
}

pub fn serve(run: &Run) {
    let mut random = Random::of_thread(0);
    let mut interner = Interner::default();
    for _ in run.ticks() {
        for _ in 0..REQUESTS_A_TICK {
            // Every other client has been here before.
            let client = if random.within(0..2) == 0 { random.next() } else { random.next() % 100 };
            let number = interner.intern(&format!("client/{client:0>320}"));
            assert!(number < interner.names.len());
        }
    }
}
