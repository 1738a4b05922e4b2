//! The shortest program with heapward in it.
//!
//! ```text
//! cargo run --example quick_start        then open http://127.0.0.1:6060/
//! ```

use std::time::Duration;

heapward::install!();

fn main() {
    // An error is worth a line in the log, not an outage. Held for as long as the service runs.
    let profiler = heapward::start().inspect_err(|error| eprintln!("no heap profiles: {error}")).ok();
    if let Some(address) = profiler.as_ref().and_then(heapward::Profiler::address) {
        println!("heapward listens on http://{address}/");
    }
    let mut kept = Vec::new();
    for second in 1..=60 {
        kept.push(vec![1u8; 4 << 20]);
        println!("{second} s: {} MiB kept", kept.len() * 4);
        std::thread::sleep(Duration::from_secs(1));
    }
}
