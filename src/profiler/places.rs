//! The distinct places in the code that a profile passes through.

use std::collections::HashMap;

use crate::profile::{Address, Frame, Location, Mapping, Unknown};
use crate::symbolize::SymbolCache;

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
    known: [HashMap<Address, u32>; 2],
    /// Whether both sides have the same files, and so share what is known.
    same: bool,
    /// The files of both, sorted by start address; those of two moments may overlap.
    pub(super) mappings: Vec<Mapping>,
    /// The places.
    pub(super) locations: Vec<Location>,
}

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
            mappings,
            locations: Vec::new(),
        }
    }

    /// The index of the place that `address` was at that time, new or known.
    pub(super) fn index(&mut self, side: Side, address: Address) -> u32 {
        let side = if self.same { Side::Later } else { side } as usize;
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

    /// Whether the address belonged to other code at the earlier moment.
    pub(super) fn has_moved(&self, address: Address) -> bool {
        !self.same && self.mapping(Side::Later as usize, address) != self.mapping(Side::Base as usize, address)
    }

    fn mapping(&self, side: usize, address: Address) -> Option<u32> {
        Mapping::find(self.sides[side], address).map(|index| self.merged[side][index])
    }

    /// Gives all places their names.
    pub(super) fn name(&mut self, cache: &mut SymbolCache) {
        for (known, mappings) in self.known.iter().zip(self.sides).filter(|(known, _)| !known.is_empty()) {
            let mut names = cache.resolve(known.keys().copied(), mappings);
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

    /// How many places have no name, and why.
    pub(super) fn unnamed(&self) -> Option<String> {
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
