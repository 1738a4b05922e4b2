//! Which nodes of a call tree are drawn, as the lines that inferno reads.

use std::borrow::Cow;

use crate::format::call_tree::{CallTree, Hidden, Node, Values};

/// Stands for what is not drawn and has no parent to stay with.
pub(super) const NOT_DRAWN: &str = "[not drawn]";

/// More than a browser copes with. It is the memory of the service that they are drawn in.
const MAX_FRAMES: usize = 50_000;
/// Of all lines together, in bytes: a line has the names of all frames below the last one again.
const MAX_TEXT: usize = 16 << 20;

/// What is drawn.
#[derive(Debug)]
pub(super) struct Picture {
    /// `root;…;leaf value`, the last one to be drawn first.
    pub lines: Vec<String>,
    /// The frames, each before those that it called.
    pub nodes: Vec<Node>,
    /// What is left out.
    pub hidden: Hidden,
    /// The share below which it is: the one asked for, or the least that makes the picture small enough.
    pub min_percent: f64,
}

impl Picture {
    /// The nodes of at least `min_percent` of the total, each under what `label` makes of its name.
    pub(super) fn of<'t>(
        tree: &'t CallTree<'_>,
        mut min_percent: f64,
        label: impl Fn(&'t str, &Values) -> Cow<'t, str>,
    ) -> Self {
        loop {
            let mut nodes = Vec::new();
            let hidden = tree.walk(min_percent, |node| {
                if nodes.len() <= MAX_FRAMES {
                    nodes.push(node);
                }
            });
            // The walk goes backwards.
            nodes.reverse();
            let lines = (nodes.len() <= MAX_FRAMES).then(|| lines(tree, &nodes, hidden, &label));
            if let Some(lines) = lines.flatten() {
                return Self { lines, nodes, hidden, min_percent };
            }
            // Ends above 100% at the latest, with nothing left.
            min_percent = (2.0 * min_percent).max(0.001);
        }
    }
}

/// A line for each node that has something of its own; `None` when it would be too much text.
///
/// In the reverse of the order of `nodes`. inferno wants its lines sorted as text, and would draw `a` twice for
/// `a`, `a::b` and `a;c`, for `:` comes before `;`. Only for flame charts it takes them in any order, from behind.
fn lines<'t>(
    tree: &'t CallTree<'_>,
    nodes: &[Node],
    hidden: Hidden,
    label: impl Fn(&'t str, &Values) -> Cow<'t, str>,
) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    let mut text = 0;
    let mut path = String::new();
    // Where the path to each of the nodes above ends.
    let mut ends: Vec<usize> = Vec::new();
    for node in nodes {
        ends.truncate((node.depth as usize).saturating_sub(1));
        path.truncate(ends.last().copied().unwrap_or_default());
        if !path.is_empty() {
            path.push(';');
        }
        let function = tree.path(node).last().copied().unwrap_or_default();
        path.push_str(&label(tree.name(function), &node.values));
        ends.push(path.len());
        if node.own > 0 {
            text += path.len();
            if text > MAX_TEXT {
                return None;
            }
            lines.push(format!("{path} {}", node.own));
        }
    }
    if hidden.at_root > 0 {
        lines.push(format!("{NOT_DRAWN} {}", hidden.at_root));
    }
    lines.reverse();
    Some(lines)
}
