//! Several runs of one cell, put together.

use crate::figures::Figures;

/// The average of several runs.
pub struct Average {
    /// The averages; the interval is that of the average.
    pub figures: Figures,
    pub runs: Vec<Figures>,
}

impl Average {
    /// Of at least one run.
    ///
    /// Runs are drawn independently, so the deviation of their average is the root of the sum of squares, over their
    /// number. Each side of the interval is put together for itself.
    pub fn of(runs: Vec<Figures>) -> Self {
        let count = runs.len() as f64;
        let mean = |figure: fn(&Figures) -> f64| runs.iter().map(figure).sum::<f64>() / count;
        let side = |side: fn(&Figures) -> f64| runs.iter().map(|run| side(run).powi(2)).sum::<f64>().sqrt() / count;
        let estimate = mean(|run| run.estimate);
        let figures = Figures {
            exact: mean(|run| run.exact),
            estimate,
            low: estimate - side(|run| run.estimate - run.low),
            high: estimate + side(|run| run.high - run.estimate),
            samples: mean(|run| run.samples),
            sample_interval: mean(|run| run.sample_interval),
        };
        Self { figures, runs }
    }

    pub fn bytes_per_label_set(&self, label_sets: usize) -> f64 {
        self.figures.exact / label_sets as f64
    }
}
