//! Numbers and names as people read them.

use crate::cell::Kind;

/// With so many decimals, and commas between thousands.
pub fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let whole = plain.find('.').unwrap_or(plain.len());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, character) in plain.chars().enumerate() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(character);
    }
    text
}

/// A count.
pub fn count(count: usize) -> String {
    number(count as f64, 0)
}

/// Bytes in KiB, which pprof calls kB.
pub fn kib(bytes: f64) -> String {
    number(bytes / 1024.0, 0)
}

/// Bytes in MiB, which pprof calls MB.
pub fn mib(bytes: f64) -> String {
    number(bytes / 1_048_576.0, 1)
}

/// `a, b and c`.
pub fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A kind, as headings say it.
pub fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "Counter",
        Kind::Gauge => "Gauge",
        Kind::Histogram => "Histogram",
        Kind::Summary => "Summary",
        Kind::PendingHistogram => "Histogram before upkeep",
    }
}

/// Prints a paragraph in lines of at most 120 characters.
pub fn print_paragraph(text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 120 {
            println!("{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    println!("{line}\n");
}
