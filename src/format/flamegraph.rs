//! Flame graphs, drawn by inferno: one of a profile, and one of what changed between two.

mod picture;
mod words;

use inferno::flamegraph::color::{BackgroundColor, Color, MultiPalette, Palette, PaletteMap};
use inferno::flamegraph::{self, Options as Drawing};

use super::call_tree::{CallTree, Values};
pub(crate) use super::call_tree::{DEFAULT_MIN_PERCENT, Options};
use super::frame_names::printable;
use crate::error::{Error, ErrorKind, Result};
use crate::profile::{Profile, SampleType};
use picture::{NOT_DRAWN, Picture};
use words::{amount, change, counted, noun};

/// The flame graph of `profile`, as SVG; the same bytes for the same profile and options.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] when no stack has a value or no site has the asked name, [`ErrorKind::Config`] for options
/// that cannot be.
pub(crate) fn svg(profile: &Profile, options: &Options) -> Result<Vec<u8>> {
    let value = options.sample_type()?;
    let tree = CallTree::of(&[profile], options)?;
    let picture = Picture::of(&tree, options.min_percent, |name, _| name.into());
    let mut drawing = drawing(options, format!("heapward: {}", value.name));
    drawing.colors = Palette::Multi(MultiPalette::Rust);
    drawing.count_name = noun(value).to_owned();
    let total = format!("{} in all", amount(value, tree.total.width));
    drawing.subtitle = Some(subtitle(vec![total], value, options, &tree, &picture));
    draw(drawing, tree, picture)
}

/// What changed from `base` to `later`, as SVG: red grew, blue shrank, each frame with what is under it. A stack is as
/// wide as the larger of its two values, so that what vanished is seen as well.
///
/// # Errors
///
/// As [`svg`]; [`ErrorKind::NotFound`] also when nothing changed.
pub(crate) fn differential(base: &Profile, later: &Profile, options: &Options) -> Result<Vec<u8>> {
    let value = options.sample_type()?;
    let tree = CallTree::of(&[base, later], options)?;
    if tree.is_unchanged() {
        return Err(Error::new(ErrorKind::NotFound, format!("nothing differs: {} is the same everywhere", value.name)));
    }
    // inferno's own differences are those of a stack's last frame alone: frames with something under them would be
    // white, and called unchanged. So each frame's name tells its change, and its color is looked up by that name.
    let name = |name: &str, values: &Values| format!("{name} {}", change(value, values)).into();
    let picture = Picture::of(&tree, options.min_percent, name);

    let largest = picture.nodes.iter().map(|node| node.values.change().unsigned_abs()).max().unwrap_or_default();
    let mut colors = PaletteMap::default();
    colors.insert("", color(tree.total.change(), largest));
    colors.insert(NOT_DRAWN, UNCHANGED);
    for node in &picture.nodes {
        let function = tree.path(node).last().copied().unwrap_or_default();
        colors.insert(name(tree.name(function), &node.values), color(node.values.change(), largest));
    }

    let mut drawing = drawing(options, format!("heapward: {}, what changed", value.name));
    drawing.bgcolors = Some(BackgroundColor::Grey);
    drawing.palette_map = Some(&mut colors);
    drawing.count_name = format!("{} wide", noun(value));
    let Values { first, second, .. } = tree.total;
    let net = format!(
        "before {}, after {}, change {}",
        amount(value, first),
        amount(value, second),
        words::signed(value, tree.total.change())
    );
    let widths = "widths are the larger of both".to_owned();
    drawing.subtitle = Some(subtitle(vec![net, widths], value, options, &tree, &picture));
    draw(drawing, tree, picture)
}

fn drawing<'a>(options: &Options, title: String) -> Drawing<'a> {
    let mut drawing = Drawing::default();
    drawing.title = printable(options.title.as_deref().unwrap_or(&title));
    // A frame's color follows from its name alone.
    drawing.deterministic = true;
    // What is too small has been taken out already, and is told.
    drawing.min_width = 0.0;
    // Takes the lines as they come; see `Picture::lines`.
    drawing.flame_chart = true;
    drawing
}

fn draw(mut drawing: Drawing<'_>, tree: CallTree<'_>, picture: Picture) -> Result<Vec<u8>> {
    // Larger than all that follows, and done with.
    drop(tree);
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut drawing, picture.lines.iter().map(String::as_str), &mut svg)
        .map_err(|error| Error::io("drawing a flame graph", error))?;
    Ok(svg)
}

fn subtitle(
    mut parts: Vec<String>,
    value: SampleType,
    options: &Options,
    tree: &CallTree<'_>,
    picture: &Picture,
) -> String {
    if let Some(site) = &options.site {
        parts.push(format!("only sites with `{}`", printable(site)));
    }
    if picture.hidden.frames > 0 {
        parts.push(format!(
            "{} below {}% not drawn, together {} ({:.1}%)",
            counted(picture.hidden.frames, "frame"),
            picture.min_percent,
            amount(value, picture.hidden.width),
            100.0 * picture.hidden.width as f64 / tree.total.width as f64
        ));
    }
    if tree.below_zero > 0 {
        parts.push(format!("{} below zero left out", counted(tree.below_zero as u64, "stack")));
    }
    parts.join("; ")
}

const UNCHANGED: Color = Color { r: 250, g: 250, b: 250 };

/// Red for more, blue for less, the stronger the closer to `largest`.
fn color(change: i64, largest: u64) -> Color {
    let share = change.unsigned_abs() as f64 / largest.max(1) as f64;
    let rest = 250 - (150.0 * share.min(1.0)).round() as u8;
    match change {
        0 => UNCHANGED,
        1.. => Color { r: 255, g: rest, b: rest },
        _ => Color { r: rest, g: rest, b: 255 },
    }
}

#[cfg(test)]
mod tests;
