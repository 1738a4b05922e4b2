//! A straight line through points.

/// The line that fits points best: least squares.
pub struct Line {
    pub slope: f64,
    /// The share of the variation that the line explains; 1 where there is none.
    pub r_squared: f64,
}

impl Line {
    /// Through at least two points of different x.
    pub fn through(points: &[(f64, f64)]) -> Self {
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let xx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let yy: f64 = points.iter().map(|(_, y)| (y - mean_y).powi(2)).sum();
        let xy: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let r_squared = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
        Self { slope: xy / xx, r_squared }
    }
}

/// The slopes from each point to the next.
pub fn steps(points: &[(f64, f64)]) -> Vec<f64> {
    points.windows(2).map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0)).collect()
}
