//! Growth by call path: where it is, and where it comes together.

use std::collections::HashMap;

use super::functions::{Function, Functions};
use crate::profile::{Profile, Trimmer};

/// A child that carries this share of its parent's growth is where to look next.
const FOLLOWED_SHARE: f64 = 0.7;

/// So many children of a node are looked through one by one.
const FEW_CHILDREN: usize = 8;

/// Stacks from their roots to their sites, with what grew at each.
#[derive(Debug)]
pub(super) struct GrowthTree<'f, 'p> {
    /// The root is the first.
    nodes: Vec<Node>,
    /// The child of a node that is a function, beyond its first [`FEW_CHILDREN`].
    edges: HashMap<(u32, u32), u32>,
    functions: &'f Functions<'p>,
    /// Of each sample the one before that ends at the same node.
    former: HashMap<u32, u32>,
}

#[derive(Debug, Default)]
struct Node {
    /// Which of the functions; of the root, none.
    function: Option<u32>,
    children: Vec<u32>,
    /// Growth of all stacks through here.
    growth: f64,
    /// Growth of the stacks that end here.
    own: f64,
    /// The last of the samples that end here; `former` leads to the others.
    last_sample: Option<u32>,
}

/// Where growth comes together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin<'p> {
    pub(super) function: Function<'p>,
    /// The samples of the profile that make it up.
    pub(super) samples: Vec<usize>,
}

impl<'f, 'p> GrowthTree<'f, 'p> {
    /// Of the samples of `profile` with these growths in bytes, which may be negative.
    pub(super) fn of(
        profile: &'p Profile,
        trimmer: &Trimmer<'p>,
        functions: &'f Functions<'p>,
        growth: impl Iterator<Item = (usize, f64)>,
    ) -> Self {
        let nodes = vec![Node::default()];
        let mut tree = Self { nodes, edges: HashMap::new(), functions, former: HashMap::new() };
        for (index, growth) in growth {
            let Some(sample) = profile.samples.get(index) else { continue };
            let mut at = 0;
            tree.nodes[0].growth += growth;
            for (location, line) in trimmer.way_to_site(sample) {
                let Some(function) = functions.number(location, line) else { continue };
                at = tree.child(at, function);
                tree.nodes[at].growth += growth;
            }
            tree.nodes[at].own += growth;
            if let Some(former) = tree.nodes[at].last_sample.replace(index as u32) {
                tree.former.insert(index as u32, former);
            }
        }
        tree
    }

    fn child(&mut self, parent: usize, function: u32) -> usize {
        let children = &self.nodes[parent].children;
        let is_it = |&&child: &&u32| self.nodes[child as usize].function == Some(function);
        if let Some(&child) = children.iter().take(FEW_CHILDREN).find(is_it) {
            return child as usize;
        }
        let next = self.nodes.len() as u32;
        if children.len() >= FEW_CHILDREN {
            let child = *self.edges.entry((parent as u32, function)).or_insert(next);
            if child != next {
                return child as usize;
            }
        }
        self.nodes.push(Node { function: Some(function), ..Node::default() });
        self.nodes[parent].children.push(next);
        next as usize
    }

    fn function(&self, node: usize) -> Option<&Function<'p>> {
        self.functions.get(self.nodes[node].function?)
    }

    fn children(&self, node: usize) -> impl Iterator<Item = usize> {
        self.nodes[node].children.iter().map(|&child| child as usize)
    }

    /// Where the growth comes together: from the root, one child after the other for as long as one carries most of
    /// its parent's growth. Where growth parts, each part is followed on its own; but where it parts among the
    /// functions of a dependency, what it has in common is the call of that dependency, and that is where it ends.
    ///
    /// One for each function, whatever ways lead to it, largest growth first.
    pub(super) fn origins(&self) -> Vec<Origin<'p>> {
        let mut found: Found<'p> = Found::default();
        let mut pending = vec![0];
        while let Some(at) = pending.pop() {
            let node = &self.nodes[at];
            if node.growth <= 0.0 {
                continue;
            }
            let growing = || self.children(at).filter(|&child| self.nodes[child].growth > 0.0);
            let is_followed = |child: usize| self.nodes[child].growth >= FOLLOWED_SHARE * node.growth;
            let ends = match self.function(at) {
                None => false,
                // A part of it ends here and nothing below is most of it.
                Some(_) if growing().next().is_none() => true,
                Some(_) if growing().any(is_followed) => false,
                Some(_) => growing().all(|child| self.is_foreign(child)),
            };
            match self.function(at) {
                Some(function) if ends => found.add(node.function, function, node.growth, self.samples_below(at)),
                function => {
                    pending.extend(growing());
                    if let Some(function) = function.filter(|_| node.own > 0.0) {
                        found.add(node.function, function, node.own, self.samples_at(at).collect());
                    }
                }
            }
        }
        let mut found = found.origins;
        found.sort_by(|(a, a_origin), (b, b_origin)| {
            b.total_cmp(a).then_with(|| a_origin.function.name.cmp(&b_origin.function.name))
        });
        found.into_iter().map(|(_, origin)| origin).collect()
    }

    /// The one function to which most of the growth leads, and the samples through it.
    pub(super) fn deepest_common(&self) -> Option<Origin<'p>> {
        let mut at = 0;
        while let Some(child) =
            self.children(at).find(|&child| self.nodes[child].growth >= FOLLOWED_SHARE * self.nodes[at].growth)
        {
            at = child;
        }
        let function = self.function(at)?.clone();
        Some(Origin { function, samples: self.samples_below(at) })
    }

    fn is_foreign(&self, node: usize) -> bool {
        self.function(node).is_some_and(|function| function.is_foreign)
    }

    /// The samples that end at a node.
    fn samples_at(&self, node: usize) -> impl Iterator<Item = usize> {
        let samples = std::iter::successors(self.nodes[node].last_sample, |sample| self.former.get(sample).copied());
        samples.map(|sample| sample as usize)
    }

    fn samples_below(&self, node: usize) -> Vec<usize> {
        let mut samples = Vec::new();
        let mut pending = vec![node];
        while let Some(at) = pending.pop() {
            samples.extend(self.samples_at(at));
            pending.extend(self.children(at));
        }
        samples.sort_unstable();
        samples
    }
}

/// Origins with their growth, one for each function.
#[derive(Default)]
struct Found<'p> {
    origins: Vec<(f64, Origin<'p>)>,
    /// Which of `origins` a function has. A function may be met at the end of each of many ways.
    of_function: HashMap<Option<u32>, usize>,
}

impl<'p> Found<'p> {
    fn add(&mut self, number: Option<u32>, function: &Function<'p>, growth: f64, samples: Vec<usize>) {
        let at = *self.of_function.entry(number).or_insert(self.origins.len());
        match self.origins.get_mut(at) {
            Some((sum, origin)) => {
                *sum += growth;
                origin.samples.extend(samples);
            }
            None => self.origins.push((growth, Origin { function: function.clone(), samples })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{self, Address, Frame, Location, Trim};
    use std::time::SystemTime;

    /// A profile of stacks such as `main > s::go > serde:parse`, root first: `serde:` is a dependency.
    fn profile(stacks: &[&str]) -> Profile {
        let mut profile = Profile::new(SystemTime::UNIX_EPOCH, 1);
        let mut known: Vec<String> = Vec::new();
        for stack in stacks {
            let mut indices = Vec::new();
            for name in stack.rsplit(" > ") {
                let found = known.iter().position(|other| other == name).unwrap_or_else(|| {
                    let file = match name.split_once(':') {
                        Some((package, rest)) if !rest.starts_with(':') => format!("/home/registry/src/{package}.rs"),
                        _ => "src/main.rs".to_owned(),
                    };
                    let function =
                        profile::Function { name: name.into(), system_name: name.into(), file: file.into(), line: 1 };
                    let frame = Frame::Known([function].into());
                    profile.locations.push(Location { address: Address(0x10), mapping: None, frame });
                    known.push(name.to_owned());
                    known.len() - 1
                });
                indices.push(found as u32);
            }
            profile.push(indices, [0; 4], 0);
        }
        profile
    }

    #[track_caller]
    fn check(growth: &[(&str, f64)], expect: &[(&str, usize)]) {
        let profile = profile(&growth.iter().map(|(stack, _)| *stack).collect::<Vec<_>>());
        let trimmer = Trimmer::of(&profile, Trim::Std);
        let functions = Functions::of(&profile);
        let growths = growth.iter().map(|(_, growth)| *growth).enumerate();
        let tree = GrowthTree::of(&profile, &trimmer, &functions, growths);
        let origins = tree.origins();
        let found: Vec<_> = origins.iter().map(|origin| (&*origin.function.name, origin.samples.len())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn growth_is_followed_to_its_site_past_plumbing() {
        check(&[("main > run > s::open > alloc::vec::Vec<T>::push > malloc", 9.0)], &[("s::open", 1)]);
        // Less than a third goes elsewhere, and is found as well.
        check(
            &[("main > run > s::open > malloc", 8.0), ("main > run > s::log > malloc", 2.0)],
            &[("s::open", 1), ("s::log", 1)],
        );
        // What shrank is no origin.
        check(&[("main > s::open > malloc", 8.0), ("main > s::log > malloc", -3.0)], &[("s::open", 1)]);
    }

    #[test]
    fn growth_that_parts_in_the_program_is_two() {
        check(&[("main > run > s::a > malloc", 5.0), ("main > run > s::b > malloc", 6.0)], &[("s::b", 1), ("s::a", 1)]);
        // One function on many ways is one.
        check(
            &[("main > x > s::pool > malloc", 2.0), ("main > y > s::pool > malloc", 2.0), ("main > z > s::pool", 2.0)],
            &[("s::pool", 3)],
        );
        // A part stays in the function itself.
        check(&[("main > s::a > malloc", 4.0), ("main > s::a > s::b > malloc", 3.0)], &[("s::a", 1), ("s::b", 1)]);
    }

    #[test]
    fn many_children_are_told_apart_whatever_ways_lead_to_them() {
        let stacks: Vec<String> = (0..300).map(|n| format!("main > way{} > s::f{} > malloc", n % 3, n / 3)).collect();
        let grown = |n: usize| (stacks[n].as_str(), 1000.0 - (n / 3) as f64);
        // Half of them give it back, by the same ways.
        let growth: Vec<(&str, f64)> =
            (0..300).map(grown).chain((150..300).map(|n| (grown(n).0, -grown(n).1))).collect();
        let expect: Vec<String> = (0..50).map(|n| format!("s::f{n}")).collect();
        check(&growth, &expect.iter().map(|name| (name.as_str(), 3)).collect::<Vec<_>>());
    }

    #[test]
    fn growth_that_parts_inside_of_a_dependency_is_one() {
        check(
            &[
                ("main > s::load > serde:map > malloc", 4.0),
                ("main > s::load > serde:seq > malloc", 3.0),
                ("main > s::load > serde:text > malloc", 3.0),
            ],
            &[("s::load", 3)],
        );
        check(&[("main > s::load > serde:map > malloc", 4.0)], &[("serde:map", 1)]);
    }

    #[test]
    fn thin_growth_comes_together_above() {
        let stacks: Vec<String> = (0..10).map(|n| format!("main > s::serve > s::part{n} > malloc")).collect();
        let profile = profile(&stacks.iter().map(String::as_str).collect::<Vec<_>>());
        let trimmer = Trimmer::of(&profile, Trim::Std);
        let functions = Functions::of(&profile);
        let tree = GrowthTree::of(&profile, &trimmer, &functions, (0..10).map(|n| (n, 1.0)));
        let origin = tree.deepest_common().unwrap();
        assert_eq!((&*origin.function.name, origin.samples.len()), ("s::serve", 10));
    }
}
