//! Who called whom, by function: what flame graphs and folded stacks are drawn from.
//!
//! No tree is kept: the stacks of a profile are lists of numbered functions, sorted, so that walking them visits every
//! node of the tree in order, with no more of it in memory than the nodes above.

mod reader;

use std::borrow::Cow;

use super::frame_names::{FrameNames, printable};
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{INUSE_SPACE, NO_STACK, Profile, SAMPLE_TYPES, SampleType, Trim};
use reader::{Reader, largest};

/// Share of the total, in percent, below which a node is not drawn.
pub(crate) const DEFAULT_MIN_PERCENT: f64 = 0.05;

/// What is drawn of a profile.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Index in [`SAMPLE_TYPES`].
    pub by: usize,
    /// Only stacks whose site's function contains this text.
    pub site: Option<String>,
    /// Nodes below this share of the total, in percent, are not drawn; 0 draws all.
    pub min_percent: f64,
    /// What is plumbing.
    pub trim: Trim,
    /// The title; `None` for one that names the value.
    pub title: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { by: INUSE_SPACE, site: None, min_percent: DEFAULT_MIN_PERCENT, trim: Trim::default(), title: None }
    }
}

impl Options {
    /// What is drawn.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a value or a share that there is not.
    pub(super) fn sample_type(&self) -> Result<SampleType> {
        if !(0.0..=100.0).contains(&self.min_percent) {
            let given = self.min_percent;
            return Err(Error::config(format!("min_percent is {given}: allowed is a number from 0 to 100")));
        }
        SAMPLE_TYPES.get(self.by).copied().ok_or_else(|| {
            Error::config(format!("by is {}: allowed is an index from 0 to {}", self.by, SAMPLE_TYPES.len() - 1))
        })
    }
}

/// The stacks of one profile, or of two, by function. A pair of values is that of the first and of the second profile.
#[derive(Debug)]
pub(super) struct CallTree<'p> {
    /// Function → name; in order.
    pub names: Vec<Cow<'p, str>>,
    /// Numbers of functions, root first, of all stacks.
    functions: Vec<u32>,
    /// Different ones, in the order of their functions.
    stacks: Vec<Stack>,
    /// Sums over all stacks.
    pub total: Values,
    /// How many samples were left out for their value below zero.
    pub below_zero: usize,
}

#[derive(Clone, Copy, Debug)]
struct Stack {
    first: u32,
    depth: u32,
    values: Values,
}

/// The value of a node or a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    /// In the first profile.
    pub first: u64,
    /// In the second.
    pub second: u64,
    /// Sum, over the stacks of the node, of the larger of both.
    pub width: u64,
}

impl Values {
    /// From the first profile to the second.
    pub(super) fn change(&self) -> i64 {
        // The sums over all stacks are below 2^63: see `CallTree::merge`.
        self.second as i64 - self.first as i64
    }

    fn add(&mut self, other: Self) {
        self.first = self.first.saturating_add(other.first);
        self.second = self.second.saturating_add(other.second);
        self.width = self.width.saturating_add(other.width);
    }
}

/// One node of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// A stack that leads to it or through it.
    stack: u32,
    /// Number of frames from the root; 1 for a root.
    pub depth: u32,
    /// With everything under it.
    pub values: Values,
    /// Of the node itself, with what under it is not drawn.
    pub own: u64,
}

/// What is not drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    /// Nodes.
    pub frames: u64,
    /// Their width, each byte once.
    pub width: u64,
    /// The part of it that has no node to stay with, for it is at the root.
    pub at_root: u64,
}

impl<'p> CallTree<'p> {
    /// The stacks of `profiles`, one or two, that have a value and that the options ask for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there are none.
    pub(super) fn of(profiles: &[&'p Profile], options: &Options) -> Result<Self> {
        let SampleType { name, .. } = options.sample_type()?;
        let mut names = FrameNames::default();
        let no_stack = names.id(NO_STACK.into());
        let readers: Vec<Reader<'p>> =
            profiles.iter().map(|profile| Reader::of(profile, options.trim, &mut names)).collect();
        let (names, places) = names.sorted();
        let mut tree =
            Self { names, functions: Vec::new(), stacks: Vec::new(), total: Values::default(), below_zero: 0 };
        // At once: growing step by step would take up to twice as much.
        tree.stacks.reserve_exact(readers.iter().map(|reader| reader.profile.samples.len()).sum());
        tree.functions.reserve_exact(readers.iter().map(|reader| reader.size(options)).sum());
        let place = |id: u32| places.get(id as usize).copied().unwrap_or_default();
        for (index, reader) in readers.iter().enumerate() {
            for sample in &reader.profile.samples {
                let value = sample.values.get(options.by).copied().unwrap_or_default();
                if value == 0 || !options.site.as_ref().is_none_or(|site| reader.is_at(sample, site)) {
                    continue;
                }
                let Ok(value) = u64::try_from(value) else {
                    tree.below_zero += 1;
                    continue;
                };
                let first = tree.functions.len();
                reader.functions(sample, |id| tree.functions.push(place(id)));
                if tree.functions.len() == first {
                    tree.functions.push(place(no_stack));
                }
                let values = match index {
                    0 => Values { first: value, ..Values::default() },
                    _ => Values { second: value, ..Values::default() },
                };
                let depth = (tree.functions.len() - first) as u32;
                // As many as the profile's own numbers reach.
                let first = u32::try_from(first).map_err(|_| Error::malformed("more than 2^32 frames to draw"))?;
                tree.stacks.push(Stack { first, depth, values });
            }
        }
        tree.merge()?;
        if tree.stacks.is_empty() {
            return Err(nothing(name, options, &readers, tree.below_zero));
        }
        Ok(tree)
    }

    /// Sorts the stacks and makes equal ones one.
    fn merge(&mut self) -> Result<()> {
        let mut stacks = std::mem::take(&mut self.stacks);
        stacks.sort_unstable_by(|a, b| self.functions_of(a).cmp(self.functions_of(b)));
        stacks.dedup_by(|later, kept| {
            let is_same = self.functions_of(later) == self.functions_of(kept);
            if is_same {
                kept.values.add(later.values);
            }
            is_same
        });
        for stack in &mut stacks {
            stack.values.width = stack.values.first.max(stack.values.second);
            self.total.add(stack.values);
        }
        self.stacks = stacks;
        // Beyond this, differences and the drawing's own numbers would overflow.
        match i64::try_from(self.total.width) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::malformed("the values of the profile add up to more than 2^63")),
        }
    }

    /// The functions of a stack, root first.
    fn functions_of(&self, stack: &Stack) -> &[u32] {
        let first = stack.first as usize;
        &self.functions[first..first + stack.depth as usize]
    }

    /// The functions that lead to `node`, root first, itself included.
    pub(super) fn path(&self, node: &Node) -> &[u32] {
        match self.stacks.get(node.stack as usize) {
            Some(stack) => &self.functions_of(stack)[..node.depth as usize],
            None => &[],
        }
    }

    /// The name of a function.
    pub(super) fn name(&self, function: u32) -> &str {
        self.names.get(function as usize).map_or("", |name| name)
    }

    /// Whether both profiles have the same values everywhere.
    pub(super) fn is_unchanged(&self) -> bool {
        self.stacks.iter().all(|stack| stack.values.first == stack.values.second)
    }

    /// Visits every node whose width is at least `min_percent` of the total: those under it before the node itself,
    /// the last of them first.
    pub(super) fn walk(&self, min_percent: f64, mut visit: impl FnMut(Node)) -> Hidden {
        let min = self.total.width as f64 * min_percent / 100.0;
        let mut hidden = Hidden::default();
        // The nodes above, each with the width of its children that are not drawn; the whole first.
        let mut open = vec![(Node { stack: 0, depth: 0, values: Values::default(), own: 0 }, 0u64)];
        let mut close = |open: &mut Vec<(Node, u64)>, depth: usize| {
            while open.len() > depth + 1 {
                let Some((node, under)) = open.pop() else { break };
                let Some((parent, parent_under)) = open.last_mut() else { break };
                parent.values.add(node.values);
                if (node.values.width as f64) < min {
                    hidden.frames += 1;
                    *parent_under += node.values.width;
                    parent.own += node.values.width;
                } else {
                    hidden.width += under;
                    visit(node);
                }
            }
        };
        let mut before: &[u32] = &[];
        for (index, stack) in self.stacks.iter().enumerate().rev() {
            let functions = self.functions_of(stack);
            let shared = functions.iter().zip(before).take_while(|(a, b)| a == b).count();
            close(&mut open, shared);
            for depth in shared + 1..=functions.len() {
                let node = Node { stack: index as u32, depth: depth as u32, values: Values::default(), own: 0 };
                open.push((node, 0));
            }
            if let Some((node, _)) = open.last_mut() {
                node.values.add(stack.values);
                node.own += stack.values.width;
            }
            before = functions;
        }
        close(&mut open, 0);
        let at_root = open.first().map_or(0, |(_, under)| *under);
        Hidden { width: hidden.width + at_root, at_root, ..hidden }
    }
}

/// Why there is nothing to draw.
fn nothing(value: &str, options: &Options, readers: &[Reader<'_>], below_zero: usize) -> Error {
    let message = match &options.site {
        // Counted at the asked site alone.
        _ if below_zero > 0 => format!("nothing to draw: {value} is zero or below in every sample"),
        Some(site) => {
            let (site, largest) = (printable(site), largest(options, readers));
            format!("no site with {value} contains `{site}`; the largest sites: {largest}")
        }
        None => format!("nothing to draw: no sample has {value}"),
    };
    Error::new(ErrorKind::NotFound, message)
}
