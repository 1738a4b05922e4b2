//! Names already found. Bounded, and all that symbolizing leaves behind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::resolver;
use crate::profile::{Address, Frame, Mapping};

/// How many addresses are remembered. More than that are in use only in the largest of programs.
pub(crate) const DEFAULT_CAPACITY: usize = 65_536;

/// Names for addresses.
#[derive(Debug)]
pub(crate) struct SymbolCache {
    frames: HashMap<Address, Frame>,
    strings: HashSet<Arc<str>>,
    capacity: usize,
    /// [`modules_generation`](crate::system::modules_generation) when the names were found.
    generation: u64,
}

impl SymbolCache {
    /// An empty cache.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { frames: HashMap::new(), strings: HashSet::new(), capacity, generation: 0 }
    }

    /// The names of `addresses`, of which those not yet known are looked up now, all at once.
    ///
    /// `generation` says which files are loaded: where it changed, an address may mean something else.
    pub(crate) fn resolve(
        &mut self,
        addresses: impl Iterator<Item = Address>,
        mappings: &[Mapping],
        generation: u64,
    ) -> HashMap<Address, Frame> {
        if generation != self.generation {
            self.clear();
            self.generation = generation;
        }
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for address in addresses {
            match self.frames.get(&address) {
                Some(frame) => {
                    found.insert(address, frame.clone());
                }
                None => missing.push(address),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return found;
        }
        let frames = resolver::resolve(&missing, mappings, &mut |text| self.intern(text));
        if self.frames.len() + frames.len() > self.capacity {
            self.clear();
        }
        for (address, frame) in missing.into_iter().zip(frames) {
            if self.frames.len() < self.capacity {
                self.frames.insert(address, frame.clone());
            }
            found.insert(address, frame);
        }
        found
    }

    fn clear(&mut self) {
        self.frames = HashMap::new();
        self.strings = HashSet::new();
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        match self.strings.get(text) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = text.into();
                self.strings.insert(new.clone());
                new
            }
        }
    }

    /// How many addresses are remembered.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}
