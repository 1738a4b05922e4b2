//! Names already found. Bounded, and all that symbolizing leaves behind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::resolver;
use crate::profile::{Address, Frame, Mapping, Unknown};
use crate::system::{loaded_mappings, modules_generation};

/// How many addresses are remembered. More than that are in use only in the largest of programs.
pub(crate) const DEFAULT_CAPACITY: usize = 65_536;

/// How many bytes of names are remembered: those of deep async code are long.
const CAPACITY_BYTES: usize = 16 << 20;

/// Names for addresses.
#[derive(Debug)]
pub(crate) struct SymbolCache {
    frames: HashMap<Address, Frame>,
    strings: HashSet<Arc<str>>,
    string_bytes: usize,
    capacity: usize,
    /// [`modules_generation`] when the names were found.
    generation: u64,
}

impl SymbolCache {
    /// An empty cache.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { frames: HashMap::new(), strings: HashSet::new(), string_bytes: 0, capacity, generation: 0 }
    }

    /// The names of `addresses`, of which those not yet known are looked up now, all at once.
    ///
    /// `mappings` are the files that were loaded when the addresses were taken. Where another file is there now, or
    /// none, the names of now would be those of other code, so there are none.
    pub(crate) fn resolve(
        &mut self,
        addresses: impl Iterator<Item = Address>,
        mappings: &[Mapping],
    ) -> HashMap<Address, Frame> {
        let generation = modules_generation();
        if generation != self.generation || self.string_bytes > CAPACITY_BYTES {
            self.clear();
            self.generation = generation;
        }
        let loaded = loaded_mappings();
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for address in addresses {
            let then = Mapping::find(mappings, address).map(|index| &mappings[index]);
            let now = Mapping::find(&loaded, address).map(|index| &loaded[index]);
            if then.is_some_and(|then| now.is_none_or(|now| !then.is_same(now))) {
                found.insert(address, Frame::Unknown(Unknown::Unloaded));
                continue;
            }
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
            // What could not be read may be readable the next time.
            if self.frames.len() < self.capacity && frame != Frame::Unknown(Unknown::Unreadable) {
                self.frames.insert(address, frame.clone());
            }
            found.insert(address, frame);
        }
        found
    }

    fn clear(&mut self) {
        self.frames = HashMap::new();
        self.strings = HashSet::new();
        self.string_bytes = 0;
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        match self.strings.get(text) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = text.into();
                self.string_bytes += text.len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::BuildId;

    fn resolve(cache: &mut SymbolCache, mappings: &[Mapping]) -> Frame {
        let here = Address(resolve as *const () as u64 + 1);
        cache.resolve([here].into_iter(), mappings).remove(&here).unwrap()
    }

    #[test]
    fn names_are_found_once_and_are_those_of_the_file_of_then() {
        let mut cache = SymbolCache::new(10);
        let mut mappings = loaded_mappings();
        let named = resolve(&mut cache, &mappings);
        assert!(named.functions().iter().any(|function| function.name.contains("resolve")), "{named:?}");
        assert_eq!((cache.len(), &resolve(&mut cache, &mappings)), (1, &named));

        // As if another build had been loaded at this place when the address was taken.
        mappings.iter_mut().for_each(|mapping| mapping.build_id = Some(BuildId([7; 20].into())));
        assert_eq!(resolve(&mut cache, &mappings), Frame::Unknown(Unknown::Unloaded));
        assert_eq!(resolve(&mut cache, &loaded_mappings()), named);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = SymbolCache::new(2);
        let start = resolve as *const () as u64;
        let addresses: Vec<Address> = (0..50).map(|n| Address(start + n)).collect();
        let found = cache.resolve(addresses.iter().copied(), &loaded_mappings());
        assert_eq!((found.len(), cache.len()), (50, 2));
    }
}
