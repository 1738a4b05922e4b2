//! Tables in Markdown that can be read as text as well.

use std::fmt;

/// Rows below a heading; all columns but the first are aligned to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_owned).to_vec()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (at, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> =
                (0..columns).map(|column| pad(&row[column], widths[column], column == 0)).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if at == 0 {
                let ruler = |(column, &width): (usize, &usize)| match column {
                    0 => "-".repeat(width + 2),
                    _ => format!("{}:", "-".repeat(width + 1)),
                };
                writeln!(f, "|{}|", widths.iter().enumerate().map(ruler).collect::<Vec<_>>().join("|"))?;
            }
        }
        Ok(())
    }
}

fn pad(text: &str, width: usize, is_left: bool) -> String {
    if is_left { format!("{text:<width$}") } else { format!("{text:>width$}") }
}
