//! Label values and observations: the same for each library.

/// Upper bounds of buckets: the default of Go's client and of the prometheus crate.
pub const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub const NAME: &str = "requests";
pub const HELP: &str = "Requests.";

/// The names of the labels.
pub const LABELS: [&str; 3] = ["foo", "bar", "baz"];

/// The values of the labels of each set: foo and bar have one, baz has as many as there are sets. They come as text that the
/// library has to copy, as those of a request do.
pub fn label_sets(count: usize) -> impl Iterator<Item = [String; 3]> {
    (0..count).map(|number| ["foo-value", "bar-value", &format!("baz-{number:06}")].map(str::to_owned))
}

/// Seconds from 1 ms to 10 s, spread evenly over orders of magnitude, and the same in each run.
pub fn observations(count: usize) -> impl Iterator<Item = f64> {
    // Multiples of the golden ratio spread evenly without chance.
    (1..=count).map(|number| 10f64.powf((number as f64 * 0.618_033_988_749_895).fract() * 4.0 - 3.0))
}
