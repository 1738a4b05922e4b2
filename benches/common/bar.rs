//! Bars: figures that must be reached, each a row of its own.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::common::Report;

/// What a figure must be, next to a limit: `Less` or `Greater`; equal will do.
#[derive(Clone, Copy, Debug)]
pub struct Bar(pub Ordering, pub f64);

impl Bar {
    fn is_met(self, value: f64) -> bool {
        let Self(wanted, limit) = self;
        value.partial_cmp(&limit).is_some_and(|is| is == wanted || is == Ordering::Equal)
    }

    /// Prints whether `value` is what it must be; a value that could not be had says why.
    pub fn print(self, report: &mut Report, bar: &str, value: Result<f64, String>, beside: Value) {
        let Self(wanted, limit) = self;
        let holds = if wanted == Ordering::Less { "at most" } else { "at least" };
        let met = value.as_ref().ok().map(|&value| self.is_met(value));
        let text = match &value {
            Ok(value) => {
                let verdict = if self.is_met(*value) { "met" } else { "MISSED" };
                format!("{bar}: {value:.4}, {holds} {limit}: {verdict} {}", beside_text(&beside))
            }
            Err(reason) => format!("{bar}: {holds} {limit}: not available: {reason}"),
        };
        report.add(json!({
            "bar": bar, "value": value.as_ref().ok(), "holds": holds, "limit": limit, "met": met,
            "not_available": value.err(), "beside": beside, "text": text,
        }));
    }
}

fn beside_text(beside: &Value) -> String {
    let Value::Object(beside) = beside else { return String::new() };
    let parts = beside.iter().filter_map(|(name, value)| Some(format!("{name} {:.3}", value.as_f64()?)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { String::new() } else { format!("({})", parts.join(", ")) }
}
