//! What the points of a table say together.

use crate::line::{Line, steps};
use crate::study::CellResult;
use crate::text::{list, number};

/// The slopes between sizes differ by less than this share where growth is called linear.
const EVEN: f64 = 0.05;

/// Growth that changes by less than this share is called independent.
const SAME: f64 = 0.01;

/// A line is drawn through observations where it explains more than this.
const STRAIGHT: f64 = 0.95;

/// Whether growth is linear in the number of label sets. Of at least two sizes.
pub fn by_label_sets(results: &[&CellResult]) -> String {
    let points = |bytes: fn(&CellResult) -> f64| -> Vec<(f64, f64)> {
        results.iter().map(|result| (result.cell.label_sets as f64, bytes(result))).collect()
    };
    let exact = points(|result| result.average.figures.exact);
    let line = Line::through(&exact);
    let estimated = Line::through(&points(|result| result.average.figures.estimate));
    let steps = steps(&exact);
    let uneven = steps.iter().map(|step| (step / line.slope - 1.0).abs()).fold(0.0, f64::max);
    let verdict = if uneven < EVEN {
        "linear".to_owned()
    } else {
        let steps: Vec<String> = steps.iter().map(|&step| number(step, 0)).collect();
        format!("linear in the large, in steps: from size to size {} bytes a label set", list(&steps))
    };
    format!(
        "{} bytes a label set ({} by heapward's estimates), R² {:.5}: {verdict}.",
        number(line.slope, 0),
        number(estimated.slope, 0),
        line.r_squared
    )
}

/// Whether growth is independent of the number of observations. Of at least two numbers.
pub fn by_observations(results: &[&CellResult]) -> String {
    let points: Vec<(f64, f64)> =
        results.iter().map(|result| (result.cell.observations as f64, result.average.figures.exact)).collect();
    let (least, most) =
        points.iter().fold((f64::INFINITY, 0f64), |(least, most), &(_, bytes)| (least.min(bytes), most.max(bytes)));
    let change = most / least - 1.0;
    if change < SAME {
        return format!(
            "Independent of observations: the exact growth changes by {:.2}% over all four.",
            100.0 * change
        );
    }
    let label_sets = results[0].cell.label_sets as f64;
    let line = Line::through(&points);
    if line.r_squared > STRAIGHT {
        let slope = line.slope / label_sets;
        let r_squared = line.r_squared;
        return format!(
            "Not independent of observations: {slope:.2} bytes for each of a label set, R² {r_squared:.5}."
        );
    }
    let [least, most] = [least, most].map(|bytes| number(bytes / label_sets, 0));
    format!("Neither independent of observations nor linear in them: {least} to {most} bytes a label set.")
}
