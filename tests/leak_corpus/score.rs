//! Right and wrong accusations, counted.

use crate::report::Report;
use crate::workload::{Label, Workload};

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Leaks whose site was named.
    pub found: usize,
    /// Leaks whose site was not.
    pub missed: usize,
    /// Sites that do not leak and were accused, in whatever workload.
    pub falsely_accused: usize,
    /// Workloads that do not leak and in which nobody was accused.
    pub left_alone: usize,
}

impl Score {
    pub fn add(&mut self, workload: &Workload, report: &Report) {
        self.falsely_accused += report.accused.iter().filter(|accused| !workload.label.is_leak(&accused.site)).count();
        match workload.label {
            Label::Leaks(sites) if report.accused.iter().any(|accused| sites.has_named(&accused.site)) => {
                self.found += 1
            }
            Label::Leaks(_) => self.missed += 1,
            Label::Steady => self.left_alone += usize::from(report.accused.is_empty()),
        }
    }

    /// Of what was accused, the share that leaks.
    pub fn precision(self) -> f64 {
        share(self.found, self.falsely_accused)
    }

    /// Of what leaks, the share that was accused.
    pub fn recall(self) -> f64 {
        share(self.found, self.missed)
    }
}

/// 1 when there is nothing at all.
fn share(right: usize, wrong: usize) -> f64 {
    if right + wrong == 0 { 1.0 } else { right as f64 / (right + wrong) as f64 }
}
