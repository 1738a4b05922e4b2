//! Names already found. Bounded, and all that symbolizing leaves behind.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::resolver::Resolver;
use crate::profile::{Address, Frame, Function, Mapping, Unknown};
use crate::system::{loaded_mappings, modules_generation};

/// How many addresses are remembered. More than that are in use only in the largest of programs.
pub(crate) const DEFAULT_CAPACITY: usize = 65_536;

/// How many bytes of names are remembered: those of deep async code are long.
const CAPACITY_BYTES: usize = 16 << 20;

/// Whether files may be opened to look names up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// They may.
    Allowed,
    /// They may, and so may files that are not loaded now: their build ids are those of then, or there are no names.
    Files,
    /// They may not: only names that are remembered are given.
    Declined,
}

/// Names for addresses.
#[derive(Debug)]
pub(crate) struct SymbolCache {
    frames: HashMap<Address, Frame>,
    strings: HashSet<Arc<str>>,
    string_bytes: usize,
    function_bytes: usize,
    capacity: usize,
    debug_dirs: Vec<PathBuf>,
    /// [`modules_generation`] when `loaded` was listed; 0 before.
    generation: u64,
    /// The files that the names are from.
    loaded: Vec<Mapping>,
    /// How many files were opened so far.
    opened: usize,
}

impl SymbolCache {
    /// An empty cache, which looks for separate debug files in `debug_dirs` too.
    pub(crate) fn new(capacity: usize, debug_dirs: Vec<PathBuf>) -> Self {
        Self {
            frames: HashMap::new(),
            strings: HashSet::new(),
            string_bytes: 0,
            function_bytes: 0,
            capacity,
            debug_dirs,
            generation: 0,
            loaded: Vec::new(),
            opened: 0,
        }
    }

    /// The names of `addresses`, of which those not yet known are looked up now, all at once, if `lookup` says so.
    ///
    /// `mappings` are the files that were loaded when the addresses were taken. Where another file is there now, or
    /// none, the names of now would be those of other code, so there are none.
    pub(crate) fn resolve(
        &mut self,
        addresses: impl Iterator<Item = Address>,
        mappings: &[Mapping],
        lookup: Lookup,
    ) -> HashMap<Address, Frame> {
        self.follow_modules();
        if self.string_bytes > CAPACITY_BYTES {
            self.clear();
        }
        let mut found = HashMap::new();
        let (mut missing, mut not_loaded) = (Vec::new(), Vec::new());
        for address in addresses {
            let at = |mappings: &[Mapping]| Mapping::find(mappings, address);
            let frame = match (at(mappings), at(&self.loaded)) {
                (None, _) => Some(Frame::Unknown(Unknown::NoMapping)),
                (Some(then), Some(now)) if mappings[then].is_same(&self.loaded[now]) => {
                    self.frames.get(&address).cloned()
                }
                _ if lookup == Lookup::Files => {
                    not_loaded.push(address);
                    continue;
                }
                _ => Some(Frame::Unknown(Unknown::Unloaded)),
            };
            match (frame, lookup) {
                (Some(frame), _) => {
                    found.insert(address, frame);
                }
                (None, Lookup::Allowed | Lookup::Files) => missing.push(address),
                (None, Lookup::Declined) => {
                    found.insert(address, Frame::Unknown(Unknown::NotAsked));
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        self.look_up(missing, &mut found);
        self.look_up_files(not_loaded, mappings, &mut found);
        found
    }

    /// From files that are not loaded. Such names are not remembered: their addresses are those of other code now.
    fn look_up_files(
        &mut self,
        mut addresses: Vec<Address>,
        mappings: &[Mapping],
        found: &mut HashMap<Address, Frame>,
    ) {
        if addresses.is_empty() {
            return;
        }
        addresses.sort_unstable();
        addresses.dedup();
        let Self { strings, string_bytes, debug_dirs, opened, .. } = self;
        let mut intern = |text: &str| intern(strings, string_bytes, text);
        let mut resolver = Resolver { debug_dirs, intern: &mut intern, opened, is_loaded: false };
        let resolved = resolver.resolve(&addresses, mappings);
        found.extend(addresses.into_iter().zip(resolved).map(|(address, resolved)| (address, resolved.frame)));
    }

    fn look_up(&mut self, addresses: Vec<Address>, found: &mut HashMap<Address, Frame>) {
        if addresses.is_empty() {
            return;
        }
        let Self { strings, string_bytes, debug_dirs, loaded, opened, .. } = self;
        let mut intern = |text: &str| intern(strings, string_bytes, text);
        let resolved =
            Resolver { debug_dirs, intern: &mut intern, opened, is_loaded: true }.resolve(&addresses, loaded);
        if self.frames.len() + resolved.len() > self.capacity {
            self.clear();
        }
        for (address, resolved) in addresses.into_iter().zip(resolved) {
            if resolved.is_final && self.frames.len() < self.capacity {
                self.function_bytes += bytes_of(&resolved.frame);
                self.frames.insert(address, resolved.frame.clone());
            }
            found.insert(address, resolved.frame);
        }
    }

    /// Forgets the names from files that are no longer where they were.
    fn follow_modules(&mut self) {
        let generation = modules_generation();
        if generation == self.generation {
            return;
        }
        let before = std::mem::replace(&mut self.loaded, loaded_mappings());
        self.generation = generation;
        let at = |mappings: &[Mapping], address| Mapping::find(mappings, address);
        let is_still_there = |address: &Address| match (at(&before, *address), at(&self.loaded, *address)) {
            (Some(then), Some(now)) => is_surely_same(&before[then], &self.loaded[now]),
            _ => false,
        };
        self.frames.retain(|address, _| is_still_there(address));
        self.function_bytes = self.frames.values().map(bytes_of).sum();
        self.strings.retain(|text| Arc::strong_count(text) > 1);
        self.string_bytes = self.strings.iter().map(|text| text.len()).sum();
    }

    fn clear(&mut self) {
        self.frames = HashMap::new();
        self.strings = HashSet::new();
        self.string_bytes = 0;
        self.function_bytes = 0;
    }

    /// How many addresses are remembered.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// About how many bytes of memory all that is remembered takes.
    pub(crate) fn bytes(&self) -> usize {
        // A table has one byte for each slot beside the slot itself, and an Arc two counts beside its value.
        let frames = self.frames.capacity() * (size_of::<(Address, Frame)>() + 1);
        let strings = self.strings.capacity() * (size_of::<Arc<str>>() + 1) + self.strings.len() * ARC;
        frames + self.function_bytes + strings + self.string_bytes
    }
}

/// Whether both are the same build at the same place. Without a build id another file could pass for the one before.
fn is_surely_same(then: &Mapping, now: &Mapping) -> bool {
    then.build_id.is_some() && then.is_same(now)
}

const ARC: usize = 2 * size_of::<usize>();

/// The bytes that a frame takes beside its slot in the table and its names.
fn bytes_of(frame: &Frame) -> usize {
    match frame {
        Frame::Known(functions) => ARC + functions.len() * size_of::<Function>(),
        Frame::Unknown(_) => 0,
    }
}

fn intern(strings: &mut HashSet<Arc<str>>, bytes: &mut usize, text: &str) -> Arc<str> {
    match strings.get(text) {
        Some(known) => known.clone(),
        None => {
            let new: Arc<str> = text.into();
            *bytes += text.len();
            strings.insert(new.clone());
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::BuildId;

    fn resolve(cache: &mut SymbolCache, mappings: &[Mapping]) -> Frame {
        let here = Address(resolve as *const () as u64 + 1);
        cache.resolve([here].into_iter(), mappings, Lookup::Allowed).remove(&here).unwrap()
    }

    #[test]
    fn names_are_found_once_and_are_those_of_the_file_of_then() {
        let mut cache = SymbolCache::new(10, Vec::new());
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
    fn what_is_known_costs_no_file() {
        let mut cache = SymbolCache::new(1000, Vec::new());
        let mappings = loaded_mappings();
        let vdso = mappings.iter().find(|mapping| mapping.path == "[vdso]").map(|mapping| Address(mapping.start + 1));
        let start = resolve as *const () as u64;
        let addresses: Vec<Address> = (0..50).map(|n| Address(start + n)).chain(vdso).collect();
        let mut resolve = |lookup| cache.resolve(addresses.iter().copied(), &mappings, lookup);

        let declined = resolve(Lookup::Declined);
        assert!(declined.values().all(|frame| *frame == Frame::Unknown(Unknown::NotAsked)), "{declined:?}");
        let first = resolve(Lookup::Allowed);
        assert_eq!(first.len(), addresses.len());
        assert_eq!(vdso.map(|vdso| &first[&vdso]), vdso.map(|_| &Frame::Unknown(Unknown::NoSymbol)));
        let again = resolve(Lookup::Allowed);
        let kept = resolve(Lookup::Declined);
        assert!(first == again && first == kept);
        assert_eq!((cache.opened, cache.len()), (1, addresses.len()));
    }

    /// As if the program's file were gone, and came back.
    #[test]
    fn what_cannot_be_read_is_tried_again() {
        let mut cache = SymbolCache::new(10, Vec::new());
        let mappings = loaded_mappings();
        cache.follow_modules();
        let here = Address(resolve as *const () as u64 + 1);
        let program = Mapping::find(&cache.loaded, here).unwrap();
        let path = std::mem::replace(&mut cache.loaded[program].path, "/none".to_owned());
        assert_eq!(resolve(&mut cache, &mappings), Frame::Unknown(Unknown::Unreadable));
        assert_eq!(cache.len(), 0);
        cache.loaded[program].path = path;
        assert!(!resolve(&mut cache, &mappings).functions().is_empty());
    }

    #[test]
    fn names_from_files_that_stay_are_kept_when_others_come_and_go() {
        let mut cache = SymbolCache::new(10, Vec::new());
        let mappings = loaded_mappings();
        let here = Address(resolve as *const () as u64 + 1);
        let libc = Address(libc::getpid as *const () as u64 + 1);
        let find = |cache: &mut SymbolCache| cache.resolve([here, libc].into_iter(), &mappings, Lookup::Declined);
        cache.resolve([here, libc].into_iter(), &mappings, Lookup::Allowed);
        let (bytes, strings) = (cache.bytes(), cache.string_bytes);
        assert!(bytes > strings && strings > 0, "{bytes} {strings}");

        // Another library came.
        cache.generation = 0;
        assert!(find(&mut cache).values().all(|frame| !frame.functions().is_empty()));
        // It was at this place before: the file that is there now is another.
        cache.generation = 0;
        let program = Mapping::find(&cache.loaded, here).unwrap();
        cache.loaded[program].build_id = Some(BuildId([7; 20].into()));
        let found = find(&mut cache);
        assert_eq!(found[&here], Frame::Unknown(Unknown::NotAsked));
        assert!(!found[&libc].functions().is_empty());
        assert!(cache.string_bytes < strings && cache.bytes() < bytes, "its names went as well");
        // And one that has no build id could be anything.
        let mut mapping = mappings[0].clone();
        mapping.build_id = Some(BuildId([7; 20].into()));
        assert!(is_surely_same(&mapping, &mapping));
        mapping.build_id = None;
        assert!(!is_surely_same(&mapping, &mapping));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = SymbolCache::new(2, Vec::new());
        let start = resolve as *const () as u64;
        let addresses: Vec<Address> = (0..50).map(|n| Address(start + n)).collect();
        let found = cache.resolve(addresses.iter().copied(), &loaded_mappings(), Lookup::Allowed);
        assert_eq!((found.len(), cache.len()), (50, 2));
    }

    #[test]
    fn a_file_that_is_not_loaded_is_known_by_its_build_id_alone() {
        let here = resolve as *const () as u64 + 1;
        let loaded = loaded_mappings();
        let own = &loaded[Mapping::find(&loaded, Address(here)).unwrap()];
        // As it was in another run: elsewhere.
        let moved = 0x1000_0000_0000;
        let earlier = |change: fn(&mut Mapping)| {
            let mut mapping = own.clone();
            (mapping.start, mapping.limit) = (moved, moved + own.limit - own.start);
            change(&mut mapping);
            let address = Address(here - own.start + moved);
            let mut cache = SymbolCache::new(10, Vec::new());
            let mut ask = |lookup| cache.resolve([address].into_iter(), std::slice::from_ref(&mapping), lookup);
            let frames = [Lookup::Files, Lookup::Allowed].map(|lookup| ask(lookup).remove(&address).unwrap());
            assert_eq!(frames[1], Frame::Unknown(Unknown::Unloaded), "no file but those that are loaded");
            assert_eq!(cache.len(), 0, "the address is another's in this run");
            frames[0].clone()
        };
        let Frame::Known(functions) = earlier(|_| ()) else { panic!("{:?}", earlier(|_| ())) };
        assert!(functions.last().unwrap().name.ends_with("resolve"), "{functions:?}");
        let unknown = |change| match earlier(change) {
            Frame::Unknown(unknown) => unknown,
            Frame::Known(functions) => panic!("{functions:?}"),
        };
        assert_eq!(unknown(|mapping| mapping.build_id = None), Unknown::Unidentified);
        assert_eq!(unknown(|mapping| mapping.build_id = Some(BuildId([1; 20].into()))), Unknown::Replaced);
        assert_eq!(unknown(|mapping| mapping.path = "/none".to_owned()), Unknown::Unreadable);
    }
}
