//! Names for one request.

use std::collections::HashMap;

use super::slow::{Operation, SlowOperations};
use crate::policy::Naming;
use crate::profile::{Address, Frame, Mapping};
use crate::symbolize::{Lookup, SymbolCache};

/// What gives addresses their names during one request.
pub(crate) struct Namer<'c> {
    cache: &'c mut SymbolCache,
    naming: Naming,
    slow: Option<&'c SlowOperations>,
    /// Whether files that are not loaded now may be looked into as well.
    is_of_earlier: bool,
}

impl<'c> Namer<'c> {
    pub(super) fn new(cache: &'c mut SymbolCache, naming: Naming) -> Self {
        Self { cache, naming, slow: None, is_of_earlier: false }
    }

    /// The same, telling `slow` how long it takes.
    pub(super) fn timed(self, slow: &'c SlowOperations) -> Self {
        Self { slow: Some(slow), ..self }
    }

    /// From now on for addresses of an earlier run, or of this one.
    pub(super) fn set_of_earlier(&mut self, is_of_earlier: bool) {
        self.is_of_earlier = is_of_earlier;
    }

    /// The names of `addresses`, which were taken when `mappings` were loaded.
    pub(super) fn names(
        &mut self,
        addresses: impl Iterator<Item = Address>,
        mappings: &[Mapping],
    ) -> HashMap<Address, Frame> {
        let _timed = self.slow.map(|slow| slow.time(Operation::Naming));
        let lookup = match self.naming {
            Naming::Allowed if self.is_of_earlier => Lookup::Files,
            Naming::Allowed => Lookup::Allowed,
            Naming::Declined(_) => Lookup::Declined,
        };
        self.cache.resolve(addresses, mappings, lookup)
    }

    /// Looks the names of some few addresses up, whatever may be done for others: whoever asks has seen to it that there is room.
    pub(super) fn remember(&mut self, addresses: impl Iterator<Item = Address>, mappings: &[Mapping]) {
        let _timed = self.slow.map(|slow| slow.time(Operation::Naming));
        self.cache.resolve(addresses, mappings, Lookup::Allowed);
    }

    /// Why names that are not remembered are not looked up, when they are not.
    pub(super) fn declined(&self) -> Option<&str> {
        match &self.naming {
            Naming::Allowed => None,
            Naming::Declined(reason) => Some(reason),
        }
    }
}
