//! Growth by call path: where it is, and where it comes together.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::profile::{Place, Profile, Trimmer, is_of_a_dependency};

/// A child that carries this share of its parent's growth is where to look next.
const FOLLOWED_SHARE: f64 = 0.7;

/// A function of one source file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Function<'p> {
    pub(super) name: Cow<'p, str>,
    pub(super) file: &'p str,
}

impl<'p> Function<'p> {
    pub(super) fn of(place: &Place<'p>) -> Self {
        Self { name: place.name(), file: place.function.map_or("", |function| &function.file) }
    }
}

/// Stacks from their roots to their sites, with what grew at each.
#[derive(Debug)]
pub(super) struct GrowthTree<'p> {
    /// The root is the first.
    nodes: Vec<Node<'p>>,
    edges: HashMap<(usize, Function<'p>), usize>,
}

#[derive(Debug)]
struct Node<'p> {
    /// Of the root, none.
    function: Option<Function<'p>>,
    children: Vec<usize>,
    /// Growth of all stacks through here.
    growth: f64,
    /// Growth of the stacks that end here.
    own: f64,
    /// The samples that end here.
    samples: Vec<usize>,
}

impl Node<'_> {
    fn new(function: Option<Function<'_>>) -> Node<'_> {
        Node { function, children: Vec::new(), growth: 0.0, own: 0.0, samples: Vec::new() }
    }
}

/// Where growth comes together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin<'p> {
    pub(super) function: Function<'p>,
    /// The samples of the profile that make it up.
    pub(super) samples: Vec<usize>,
}

impl<'p> GrowthTree<'p> {
    /// Of the samples of `profile` with these growths in bytes, which may be negative.
    pub(super) fn of(profile: &'p Profile, trimmer: &Trimmer<'p>, growth: impl Iterator<Item = (usize, f64)>) -> Self {
        let mut tree = Self { nodes: vec![Node::new(None)], edges: HashMap::new() };
        for (index, growth) in growth {
            let Some(sample) = profile.samples.get(index) else { continue };
            let mut at = 0;
            tree.nodes[0].growth += growth;
            for place in trimmer.path_to_site(sample) {
                at = tree.child(at, Function::of(&place));
                tree.nodes[at].growth += growth;
            }
            tree.nodes[at].own += growth;
            tree.nodes[at].samples.push(index);
        }
        tree
    }

    fn child(&mut self, parent: usize, function: Function<'p>) -> usize {
        let next = self.nodes.len();
        let child = *self.edges.entry((parent, function.clone())).or_insert(next);
        if child == next {
            self.nodes.push(Node::new(Some(function)));
            self.nodes[parent].children.push(child);
        }
        child
    }

    /// Where the growth comes together: from the root, one child after the other for as long as one carries most of
    /// its parent's growth. Where growth parts, each part is followed on its own; but where it parts among the
    /// functions of a dependency, what it has in common is the call of that dependency, and that is where it ends.
    ///
    /// One for each function, whatever ways lead to it, largest growth first.
    pub(super) fn origins(&self) -> Vec<Origin<'p>> {
        let mut found: Vec<(f64, Origin<'p>)> = Vec::new();
        let mut pending = vec![0];
        while let Some(at) = pending.pop() {
            let node = &self.nodes[at];
            if node.growth <= 0.0 {
                continue;
            }
            let growing = || node.children.iter().copied().filter(|&child| self.nodes[child].growth > 0.0);
            let is_followed = |child: usize| self.nodes[child].growth >= FOLLOWED_SHARE * node.growth;
            let ends = match &node.function {
                None => false,
                // A part of it ends here and nothing below is most of it.
                Some(_) if growing().next().is_none() => true,
                Some(_) if growing().any(is_followed) => false,
                Some(_) => growing().all(|child| self.is_of_a_dependency(child)),
            };
            match &node.function {
                Some(function) if ends => self.add(&mut found, function, node.growth, self.samples_below(at)),
                function => {
                    pending.extend(growing());
                    if let Some(function) = function.as_ref().filter(|_| node.own > 0.0) {
                        self.add(&mut found, function, node.own, node.samples.clone());
                    }
                }
            }
        }
        found.sort_by(|(a, a_origin), (b, b_origin)| {
            b.total_cmp(a).then_with(|| a_origin.function.name.cmp(&b_origin.function.name))
        });
        found.into_iter().map(|(_, origin)| origin).collect()
    }

    /// The one function to which most of the growth leads, and the samples through it.
    pub(super) fn deepest_common(&self) -> Option<Origin<'p>> {
        let mut at = 0;
        while let Some(&child) = self.nodes[at]
            .children
            .iter()
            .find(|&&child| self.nodes[child].growth >= FOLLOWED_SHARE * self.nodes[at].growth)
        {
            at = child;
        }
        let function = self.nodes[at].function.clone()?;
        Some(Origin { function, samples: self.samples_below(at) })
    }

    fn add(&self, found: &mut Vec<(f64, Origin<'p>)>, function: &Function<'p>, growth: f64, samples: Vec<usize>) {
        match found.iter_mut().find(|(_, origin)| origin.function == *function) {
            Some((sum, origin)) => {
                *sum += growth;
                origin.samples.extend(samples);
            }
            None => found.push((growth, Origin { function: function.clone(), samples })),
        }
    }

    fn is_of_a_dependency(&self, node: usize) -> bool {
        self.nodes[node].function.as_ref().is_some_and(|function| is_of_a_dependency(function.file))
    }

    fn samples_below(&self, node: usize) -> Vec<usize> {
        let mut samples = Vec::new();
        let mut pending = vec![node];
        while let Some(at) = pending.pop() {
            samples.extend(&self.nodes[at].samples);
            pending.extend(&self.nodes[at].children);
        }
        samples.sort_unstable();
        samples
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
        let tree = GrowthTree::of(&profile, &trimmer, growth.iter().map(|(_, growth)| *growth).enumerate());
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
        let tree = GrowthTree::of(&profile, &trimmer, (0..10).map(|n| (n, 1.0)));
        let origin = tree.deepest_common().unwrap();
        assert_eq!((&*origin.function.name, origin.samples.len()), ("s::serve", 10));
    }
}
