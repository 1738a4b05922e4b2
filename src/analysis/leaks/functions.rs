//! The functions of a profile, by number.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::profile::{Place, Profile};

/// A function of one source file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Function<'p> {
    pub(super) name: Cow<'p, str>,
    pub(super) file: &'p str,
    /// Whether it is no part of the program's own sources.
    pub(super) is_foreign: bool,
}

impl<'p> Function<'p> {
    pub(super) fn of(place: &Place<'p>) -> Self {
        let file = place.function.map_or("", |function| &function.file);
        Self { name: place.name(), file, is_foreign: place.is_of_a_dependency() }
    }
}

/// The functions of all locations. Names are compared here once a location, and not once a frame of every stack.
#[derive(Debug)]
pub(super) struct Functions<'p> {
    all: Vec<Function<'p>>,
    /// Of each location where its functions begin in `numbers`.
    first: Vec<u32>,
    /// Which of `all` each function of each location is, innermost first.
    numbers: Vec<u32>,
}

impl<'p> Functions<'p> {
    pub(super) fn of(profile: &'p Profile) -> Self {
        let mut functions = Self { all: Vec::new(), first: Vec::new(), numbers: Vec::new() };
        let mut known: HashMap<Function<'p>, u32> = HashMap::new();
        for location in &profile.locations {
            functions.first.push(functions.numbers.len() as u32);
            for place in profile.places(location) {
                let number = *known.entry(Function::of(&place)).or_insert_with_key(|function| {
                    functions.all.push(function.clone());
                    functions.all.len() as u32 - 1
                });
                functions.numbers.push(number);
            }
        }
        functions
    }

    /// The number of the function `line`, from the innermost, of a location.
    pub(super) fn number(&self, location: u32, line: usize) -> Option<u32> {
        let first = *self.first.get(location as usize)? as usize;
        self.numbers.get(first + line).copied()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Function<'p>> {
        self.all.get(number as usize)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
