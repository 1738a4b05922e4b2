//! The distinct places in the code that a profile passes through.

use super::Namer;
use crate::profile::{Address, AddressMap, Frame, Location, Mapping, Unknown};

/// Which of a view's moments a stack was seen at. The same address may have belonged to another file then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Later,
    Base,
}

/// The distinct places in the code that the samples of a view pass through.
pub(super) struct Places<'a> {
    /// The files of each side, as they were then.
    sides: [&'a [Mapping]; 2],
    /// Of each side's files, the index in `mappings`.
    merged: [Vec<u32>; 2],
    /// Address → index in `locations`, for each side.
    known: [AddressMap<u32>; 2],
    /// Some of those of the later moment, each at the one place that its address allows: nearly all frames of many
    /// stacks are found here, in a fraction of a map's time.
    recent: Box<[(Address, u32); RECENT]>,
    /// Whether both sides have the same files, and so share what is known.
    same: bool,
    /// The files of both, sorted by start address; those of two moments may overlap.
    pub(super) mappings: Vec<Mapping>,
    /// The places.
    pub(super) locations: Vec<Location>,
}

/// A power of two.
const RECENT: usize = 1024;

impl<'a> Places<'a> {
    /// None yet, in the files that were loaded at the later and at the earlier moment.
    pub(super) fn new(later: &'a [Mapping], base: &'a [Mapping]) -> Self {
        let mut mappings = later.to_vec();
        for mapping in base {
            if !later.iter().any(|other| other.is_same(mapping)) {
                mappings.push(mapping.clone());
            }
        }
        mappings.sort_by_key(|mapping| mapping.start);
        let merged = [later, base].map(|side| {
            let index =
                |mapping: &Mapping| mappings.iter().position(|other| other.is_same(mapping)).unwrap_or(0) as u32;
            side.iter().map(index).collect()
        });
        Self {
            same: later.len() == base.len() && mappings.len() == later.len(),
            sides: [later, base],
            merged,
            known: Default::default(),
            // No address stands before an instruction at 0.
            recent: Box::new([(Address(0), 0); RECENT]),
            mappings,
            locations: Vec::new(),
        }
    }

    /// The index of the place that `address` was at that time, new or known.
    pub(super) fn index(&mut self, side: Side, address: Address) -> u32 {
        let side = if self.same { Side::Later } else { side };
        if side == Side::Base {
            return self.index_in_map(side, address);
        }
        let place = address.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> (usize::BITS - RECENT.ilog2());
        let (known, index) = self.recent[place];
        if known == address && address.0 != 0 {
            return index;
        }
        let index = self.index_in_map(side, address);
        self.recent[place] = (address, index);
        index
    }

    fn index_in_map(&mut self, side: Side, address: Address) -> u32 {
        let side = side as usize;
        if let Some(&index) = self.known[side].get(&address) {
            return index;
        }
        let mapping = self.mapping(side, address);
        let other = self.known[1 - side].get(&address).copied();
        let index = match other.filter(|&index| self.locations[index as usize].mapping == mapping) {
            Some(index) => index,
            None => {
                self.locations.push(Location { address, mapping, frame: Frame::Unknown(Unknown::NotAsked) });
                self.locations.len() as u32 - 1
            }
        };
        self.known[side].insert(address, index);
        index
    }

    /// Whether any file was loaded or unloaded in between.
    pub(super) fn have_moved(&self) -> bool {
        !self.same
    }

    /// Whether the address belonged to other code at the earlier moment.
    pub(super) fn has_moved(&self, address: Address) -> bool {
        !self.same && self.mapping(Side::Later as usize, address) != self.mapping(Side::Base as usize, address)
    }

    fn mapping(&self, side: usize, address: Address) -> Option<u32> {
        Mapping::find(self.sides[side], address).map(|index| self.merged[side][index])
    }

    /// Gives all places their names.
    pub(super) fn name(&mut self, namer: &mut Namer<'_>) {
        for (known, mappings) in self.known.iter().zip(self.sides).filter(|(known, _)| !known.is_empty()) {
            let mut names = namer.names(known.keys().copied(), mappings);
            for (address, &index) in known {
                if let Some(frame) = names.remove(address) {
                    self.locations[index as usize].frame = frame;
                }
            }
        }
    }

    /// The place that `address` was at that time, when it is known.
    pub(super) fn get(&self, side: Side, address: Address) -> Option<&Location> {
        let side = if self.same { Side::Later } else { side } as usize;
        self.known[side].get(&address).and_then(|&index| self.locations.get(index as usize))
    }

    /// Why some have no name, for whoever reads the profile.
    pub(super) fn why_unnamed(&self, namer: &Namer<'_>) -> Vec<String> {
        let not_asked = Frame::Unknown(Unknown::NotAsked);
        let declined = namer.declined().filter(|_| self.locations.iter().any(|place| place.frame == not_asked));
        declined.map(str::to_owned).into_iter().chain(self.unnamed()).collect()
    }

    /// How many places have no name, and why.
    fn unnamed(&self) -> Option<String> {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for location in &self.locations {
            if let Frame::Unknown(unknown) = location.frame {
                match reasons.iter_mut().find(|(reason, _)| *reason == unknown.reason()) {
                    Some((_, count)) => *count += 1,
                    None => reasons.push((unknown.reason(), 1)),
                }
            }
        }
        let count: usize = reasons.iter().map(|(_, count)| count).sum();
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
        (count > 0)
            .then(|| format!("{count} of {} locations have no name: {}", self.locations.len(), reasons.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::BuildId;

    fn mapping(start: u64, build: u8) -> Mapping {
        Mapping {
            start,
            limit: start + 0x1000,
            file_offset: 0,
            path: format!("/lib/{build}.so"),
            build_id: Some(BuildId([build].into())),
        }
    }

    #[test]
    fn an_address_that_belonged_to_another_file_is_another_place() {
        // At 0x2000 one library was unloaded and another loaded; at 0x1000 there is the program.
        let (later, base) = ([mapping(0x1000, 1), mapping(0x2000, 3)], [mapping(0x1000, 1), mapping(0x2000, 2)]);
        let mut places = Places::new(&later, &base);
        let (program, library, nowhere) = (Address(0x1010), Address(0x2010), Address(0x9));
        assert_eq!([program, library, nowhere].map(|address| places.has_moved(address)), [false, true, false]);
        let index = [Side::Later, Side::Base].map(|side| [program, library, nowhere].map(|at| places.index(side, at)));
        assert_eq!(index, [[0, 1, 2], [0, 3, 2]]);
        assert_eq!(index[1], [program, library, nowhere].map(|at| places.index(Side::Base, at)), "and stays so");
        let file = |index: u32| places.locations[index as usize].mapping.map(|at| &*places.mappings[at as usize].path);
        assert_eq!([0, 1, 2, 3].map(file), [Some("/lib/1.so"), Some("/lib/3.so"), None, Some("/lib/2.so")]);
        assert_eq!(places.get(Side::Base, library).map(|place| place.mapping), Some(Some(2)));
        assert_eq!(places.unnamed().unwrap(), "4 of 4 locations have no name: names were not asked for (4)");
    }

    #[test]
    fn files_that_stayed_are_shared() {
        let files = [mapping(0x1000, 1), mapping(0x2000, 2)];
        let mut places = Places::new(&files, &files);
        assert_eq!(places.mappings.len(), 2);
        assert!(!places.has_moved(Address(0x1010)));
        assert_eq!(places.index(Side::Base, Address(0x1010)), places.index(Side::Later, Address(0x1010)));
        assert_eq!(places.locations.len(), 1);
    }
}
