//! Where a stack is cut, and which of its frames is the site.

use std::collections::HashMap;

use regex_lite::Regex;

use super::{Trim, rules};
use crate::profile::{Location, Place, Profile, ProfileSample};

/// Cuts the stacks of one profile as `go tool pprof` does by `drop_frames`: from the root, the first frame that a rule
/// matches goes with all that is leafward of it.
///
/// Source: `Profile.Prune` in profile/prune.go of google/pprof. As there, frames that match at the root itself stay
/// until the first one that does not, and nothing is cut at a frame without a name. A stack in which every frame
/// matches is cut to its root frame; pprof leaves it whole, with the allocator's innermost function as its leaf.
#[derive(Debug)]
pub(crate) struct Trimmer<'p> {
    profile: &'p Profile,
    trim: Trim,
    /// One for each location of the profile.
    locations: Vec<Lines>,
}

/// What is decided about one location.
#[derive(Clone, Copy, Debug)]
struct Lines {
    /// How many of its functions go, from the leaf.
    cut: u32,
    /// How many it has; 1 for one without a name.
    count: u32,
    /// Which one is a site, from the leaf: the first that stays and is not the language's. `count` when none is.
    site: u32,
}

/// The longest name that the rules are asked about. No compiler makes longer ones; a file may, to keep us busy.
const MATCHED_BYTES: usize = 64 << 10;

/// What is left of a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'p> {
    /// Indices in [`Profile::locations`], leaf first.
    pub locations: &'p [u32],
    /// How many functions of the first location are cut, from the leaf.
    pub skip: usize,
}

impl<'p> Trimmer<'p> {
    /// Decides about every location of `profile`; each distinct name is matched once.
    pub(crate) fn of(profile: &'p Profile, trim: Trim) -> Self {
        let mut names = Names { rules: matcher(trim), decided: HashMap::new() };
        let locations = profile.locations.iter().map(|location| names.lines(location)).collect();
        Self { profile, trim, locations }
    }

    /// What is left of the stack of `sample`. Only a stack without frames has nothing left.
    pub(crate) fn kept(&self, sample: &ProfileSample) -> Kept<'p> {
        let stack = self.profile.stack(sample);
        let mut found_user = false;
        for (at, &index) in stack.iter().enumerate().rev() {
            let lines = self.lines(index);
            if lines.cut == 0 {
                found_user = true;
            } else if lines.cut < lines.count {
                return Kept { locations: &stack[at..], skip: lines.cut as usize };
            } else if found_user {
                return Kept { locations: &stack[at + 1..], skip: 0 };
            }
        }
        match stack {
            [.., root] if !found_user => {
                Kept { locations: &stack[stack.len() - 1..], skip: self.lines(*root).count as usize - 1 }
            }
            _ => Kept { locations: stack, skip: 0 },
        }
    }

    /// Where a person would look: the first frame from the leaf, after the cut, that is not the language's own; the
    /// root when all are. With less than [`Trim::Std`] the leaf after the cut. `None` for a stack without frames.
    pub(crate) fn site(&self, sample: &ProfileSample) -> Option<Place<'p>> {
        let (location, line) = self.site_at(sample)?;
        self.place(location, line)
    }

    /// The same as the index in [`Profile::locations`] and that of the place at it, from the leaf.
    pub(crate) fn site_at(&self, sample: &ProfileSample) -> Option<(u32, usize)> {
        let Kept { locations, skip } = self.kept(sample);
        if self.trim < Trim::Std {
            return Some((*locations.first()?, skip));
        }
        let is_site = |&&index: &&u32| {
            let lines = self.lines(index);
            lines.site < lines.count
        };
        match locations.iter().find(is_site) {
            Some(&index) => Some((index, self.lines(index).site as usize)),
            None => locations.last().map(|&root| (root, self.lines(root).count as usize - 1)),
        }
    }

    /// The frames from the root down to [`Trimmer::site`], that one included.
    pub(crate) fn path_to_site(&self, sample: &ProfileSample) -> impl Iterator<Item = Place<'p>> + use<'_, 'p> {
        self.way_to_site(sample).filter_map(|(index, line)| self.place(index, line))
    }

    /// The same as indices in [`Profile::locations`] and of the places at these, from the leaf.
    pub(crate) fn way_to_site(&self, sample: &ProfileSample) -> impl Iterator<Item = (u32, usize)> + use<'_, 'p> {
        let Kept { locations, skip } = self.kept(sample);
        let site_line = |&index: &u32| {
            let lines = self.lines(index);
            (self.trim >= Trim::Std && lines.site < lines.count).then_some(lines.site as usize)
        };
        // Where the way ends: that location and line.
        let (last, line) = match locations.iter().enumerate().find_map(|(at, index)| Some((at, site_line(index)?))) {
            Some(site) => site,
            None if self.trim < Trim::Std => (0, skip),
            None => match locations.last() {
                Some(&root) => (locations.len() - 1, self.lines(root).count as usize - 1),
                None => (0, 0),
            },
        };
        locations.iter().enumerate().skip(last).rev().flat_map(move |(at, &index)| {
            let first = if at == last { line } else { 0 };
            (first..self.lines(index).count as usize).rev().map(move |line| (index, line))
        })
    }

    fn place(&self, index: u32, line: usize) -> Option<Place<'p>> {
        let location = self.profile.locations.get(index as usize)?;
        self.profile.places(location).nth(line)
    }

    fn lines(&self, index: u32) -> Lines {
        self.locations.get(index as usize).copied().unwrap_or(Lines { cut: 0, count: 1, site: 0 })
    }
}

/// The decisions by name.
struct Names<'p> {
    rules: Option<Regex>,
    decided: HashMap<&'p str, Decision>,
}

#[derive(Clone, Copy)]
struct Decision {
    is_cut: bool,
    is_of_the_language: bool,
}

impl<'p> Names<'p> {
    fn lines(&mut self, location: &'p Location) -> Lines {
        let functions = location.frame.functions();
        if functions.is_empty() {
            return Lines { cut: 0, count: 1, site: 0 };
        }
        let cut = functions.iter().rposition(|function| self.decide(&function.name).is_cut).map_or(0, |last| last + 1);
        let is_site = |name: &'p str| !self.decide(name).is_of_the_language;
        let mut kept = functions[cut..].iter();
        let site = kept.by_ref().map(|function| &*function.name).position(is_site);
        Lines {
            cut: cut as u32,
            count: functions.len() as u32,
            site: site.map_or(functions.len(), |at| cut + at) as u32,
        }
    }

    fn decide(&mut self, name: &'p str) -> Decision {
        let is_short = name.len() <= MATCHED_BYTES;
        *self.decided.entry(name).or_insert_with(|| Decision {
            is_cut: is_short && self.rules.as_ref().is_some_and(|rules| rules.is_match(simplified(name))),
            is_of_the_language: rules::is_of_the_language(name),
        })
    }
}

/// Matches what viewers match by the same expression: a whole name.
fn matcher(trim: Trim) -> Option<Regex> {
    let expression = trim.drop_frames();
    // Its parts are constants, and a test compiles them.
    (!expression.is_empty()).then(|| Regex::new(&format!("^(?:{expression})$")).expect("the rules are an expression"))
}

/// A name as pprof matches it: up to the first round bracket, which begins the arguments of a C++ function.
///
/// Source: `simplifyFunc` in profile/prune.go of google/pprof.
fn simplified(name: &str) -> &str {
    const NOT_ARGUMENTS: [&str; 2] = ["(anonymous namespace)", "operator()"];
    let name = name.strip_prefix('.').unwrap_or(name);
    let is_end = |&(at, _): &(usize, &str)| {
        !NOT_ARGUMENTS.iter().any(|reserved| {
            let bracket = reserved.find('(').unwrap_or_default();
            at >= bracket && name.get(at - bracket..).is_some_and(|rest| rest.starts_with(reserved))
        })
    };
    name.match_indices('(').find(is_end).map_or(name, |(at, _)| &name[..at])
}
