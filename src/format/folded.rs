//! Folded stacks: the text that flame graph tools read and write.

use std::cmp::Ordering;
use std::io::Write;

use super::call_tree::{CallTree, Node, Options};
use crate::error::{Error, Result};
use crate::profile::Profile;

/// Nothing is left out: a program reads this, and no browser has to draw it.
pub(crate) const DEFAULT_MIN_PERCENT: f64 = 0.0;

/// Writes `root;…;leaf value`, a line for each stack with a value above zero, in the order of their bytes. What
/// [`Options::min_percent`] leaves out stays with its caller.
///
/// # Errors
///
/// [`crate::ErrorKind::NotFound`] when no stack has a value or no site has the asked name, [`crate::ErrorKind::Config`]
/// for options that cannot be, [`crate::ErrorKind::Io`] when `out` fails.
pub(crate) fn write(profile: &Profile, options: &Options, mut out: impl Write) -> Result<()> {
    let tree = CallTree::of(&[profile], options)?;
    let mut nodes = Vec::new();
    let hidden = tree.walk(options.min_percent, |node| {
        if node.own > 0 {
            nodes.push(node);
        }
    });
    nodes.sort_unstable_by(|a, b| order(&tree, a, b));
    let mut line = String::new();
    for node in &nodes {
        line.clear();
        push_line(&mut line, &tree, tree.path(node), node.own);
        line.push('\n');
        out.write_all(line.as_bytes()).map_err(failed)?;
    }
    if hidden.at_root > 0 {
        writeln!(out, "[not drawn] {}", hidden.at_root).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

fn failed(error: std::io::Error) -> Error {
    Error::io("writing folded stacks", error)
}

/// Appends `a;…;z value` for the functions `path`.
fn push_line(line: &mut String, tree: &CallTree<'_>, path: &[u32], value: u64) {
    for (at, &function) in path.iter().enumerate() {
        if at > 0 {
            line.push(';');
        }
        line.push_str(tree.name(function));
    }
    line.push_str(&format!(" {value}"));
}

/// The order of two lines as text, which is not that of their functions: `a::b` comes before `a;c`, and `a;c` after
/// `a 1`.
fn order(tree: &CallTree<'_>, a: &Node, b: &Node) -> Ordering {
    let (a_path, b_path) = (tree.path(a), tree.path(b));
    let shared = a_path.iter().zip(b_path).take_while(|(a, b)| a == b).count();
    let (a_rest, b_rest) = (&a_path[shared..], &b_path[shared..]);
    let (a_name, b_name) = match (a_rest, b_rest) {
        ([a, ..], [b, ..]) => (tree.name(*a), tree.name(*b)),
        _ => return a_rest.len().cmp(&b_rest.len()),
    };
    if a_name.starts_with(b_name) || b_name.starts_with(a_name) {
        // What comes behind the name decides.
        let (mut a_line, mut b_line) = (String::new(), String::new());
        push_line(&mut a_line, tree, a_rest, a.own);
        push_line(&mut b_line, tree, b_rest, b.own);
        return a_line.cmp(&b_line);
    }
    a_name.cmp(b_name)
}
