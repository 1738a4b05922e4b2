//! What a file has and our model has no place for. It is not kept, but it is told.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::format::heap_v2::quoted;
use crate::format::read::Budget;

/// How many of a kind are named.
const NAMED: usize = 10;

/// What was left out, and how often.
#[derive(Default)]
pub(super) struct LeftOut {
    /// Labels, by the number of their key in the string table.
    labels: BTreeMap<usize, u64>,
    /// Names of labels, filled in at the end.
    label_names: Vec<(String, u64)>,
    /// Kinds of value that are none of a heap's.
    pub sample_types: Vec<String>,
    /// Kinds of value of a heap that the file has not.
    pub missing_types: Vec<&'static str>,
    /// Whole sentences.
    pub remarks: Vec<String>,
    /// Fields that this reader does not know.
    pub unknown_fields: u64,
    /// Strings that are not UTF-8.
    pub damaged_strings: u64,
    /// Build ids that are not hexadecimal.
    pub build_ids: u64,
    /// Lines without a function that has a name.
    pub nameless_lines: u64,
    /// Line numbers below 0 or above 2^32 − 1.
    pub line_numbers: u64,
    /// Locations of which several have been folded to one.
    pub folded: u64,
}

/// What one more key of a label takes.
const LABEL_BYTES: usize = 64;

impl LeftOut {
    /// Counts one label with this key.
    pub(super) fn label(&mut self, key: usize, budget: &mut Budget) -> Result<()> {
        if !self.labels.contains_key(&key) {
            budget.take(LABEL_BYTES)?;
        }
        *self.labels.entry(key).or_default() += 1;
        Ok(())
    }

    /// Gives the labels that are told their names.
    pub(super) fn name_labels<'s>(&mut self, name: impl Fn(usize) -> &'s str) {
        let mut labels: Vec<(u64, usize)> = self.labels.iter().map(|(&key, &count)| (count, key)).collect();
        labels.sort_by_key(|&(count, key)| (std::cmp::Reverse(count), key));
        self.label_names =
            labels.iter().take(NAMED).map(|&(count, key)| (quoted(name(key).as_bytes()), count)).collect();
    }

    /// A remark for each kind of thing.
    pub(super) fn comments(&self) -> Vec<String> {
        let mut comments = Vec::new();
        if !self.labels.is_empty() {
            let names: Vec<String> =
                self.label_names.iter().map(|(name, count)| format!("{name} ({count} times)")).collect();
            comments.push(format!("not read: labels {}", listed(&names, self.labels.len())));
        }
        if !self.sample_types.is_empty() {
            comments.push(format!("not read: sample types {}", listed(&self.sample_types, self.sample_types.len())));
        }
        if !self.missing_types.is_empty() {
            comments.push(format!("zero here, because the file has none: {}", self.missing_types.join(", ")));
        }
        comments.extend(self.remarks.iter().map(|remark| format!("not read: {remark}")));
        let counted = [
            (self.unknown_fields, "fields that are not known here"),
            (self.build_ids, "build ids that are not hexadecimal"),
            (self.nameless_lines, "lines without a named function"),
            (self.line_numbers, "line numbers that are none"),
            (self.folded, "marks of folded locations"),
        ];
        comments.extend(
            counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("not read: {count} {what}")),
        );
        if self.damaged_strings > 0 {
            comments.push(format!("{} strings are not UTF-8: bytes are replaced there", self.damaged_strings));
        }
        comments
    }
}

fn listed(names: &[String], all: usize) -> String {
    let named = names.len().min(NAMED);
    let list = names[..named].join(", ");
    if all > named { format!("{list} and {} more", all - named) } else { list }
}
