//! Flame graphs: folded stacks, drawn by inferno.

use inferno::flamegraph::{self, Options};

use crate::error::{Error, Result};
use crate::profile::{Location, Profile, SAMPLE_TYPES};

/// The flame graph of the value at index `by` of [`SAMPLE_TYPES`], as SVG.
pub(crate) fn svg(profile: &Profile, by: usize) -> Result<Vec<u8>> {
    let lines = folded(profile, by);
    let mut options = Options::default();
    options.title = format!("heapward: {}", SAMPLE_TYPES[by].name);
    options.count_name = SAMPLE_TYPES[by].unit.to_owned();
    let mut svg = Vec::new();
    if lines.is_empty() {
        return Err(Error::new(
            crate::ErrorKind::NotFound,
            format!("nothing to draw: no sample has {}", SAMPLE_TYPES[by].name),
        ));
    }
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .map_err(|error| Error::io("drawing a flame graph", error))?;
    Ok(svg)
}

/// `root;…;leaf value`, a line for each stack; stacks whose value is zero are left out.
fn folded(profile: &Profile, by: usize) -> Vec<String> {
    let mut lines: Vec<String> = profile
        .samples
        .iter()
        .filter(|sample| sample.values[by] > 0)
        .map(|sample| {
            let mut line = String::new();
            for &index in profile.stack(sample).iter().rev() {
                if let Some(location) = profile.locations.get(index as usize) {
                    push_frames(&mut line, location);
                }
            }
            if line.is_empty() {
                line.push_str("[no stack]");
            }
            format!("{line} {}", sample.values[by])
        })
        .collect();
    // In order, so that equal stems are neighbours and the picture is the same every time.
    lines.sort_unstable();
    lines
}

fn push_frames(line: &mut String, location: &Location) {
    let mut push = |name: &str| {
        if !line.is_empty() {
            line.push(';');
        }
        // The two characters that the format gives a meaning.
        line.extend(name.chars().map(|c| if c == ';' || c == '\n' { ':' } else { c }));
    };
    match location.frame.functions() {
        [] => push(&format!("{:#x}", location.address.0)),
        functions => functions.iter().rev().for_each(|function| push(&function.name)),
    }
}
