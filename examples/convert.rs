//! Reads a heap profile, of heapward, of jemalloc or of Go, and writes it as something else.
//!
//! ```text
//! cargo run --example convert -- jeprof.1234.0.f.heap heap.prof         for go tool pprof
//! cargo run --example convert -- heap.prof heap.svg                     a flame graph
//! cargo run --example convert -- heap.prof heap.folded                  folded stacks
//! cargo run --example convert -- later.prof diff.svg first.prof         what changed since first.prof
//! ```

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;

use heapward::HeapProfile;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (from, to, base) = match &arguments[..] {
        [from, to] => (from, to, None),
        [from, to, base] => (from, to, Some(base)),
        _ => return Err("give a profile and the file to write: .prof, .svg or .folded; for an .svg also a base".into()),
    };
    let read = |path: &String| -> Result<HeapProfile, Box<dyn Error>> {
        Ok(HeapProfile::read(&std::fs::read(path).map_err(|error| format!("{path}: {error}"))?)?)
    };
    let profile = read(from)?;
    match (to.rsplit('.').next(), base) {
        (Some("prof"), None) => std::fs::write(to, profile.heap_prof()?)?,
        (Some("svg"), None) => std::fs::write(to, profile.flamegraph()?)?,
        (Some("svg"), Some(base)) => std::fs::write(to, profile.flamegraph_since(&read(base)?)?)?,
        (Some("folded"), None) => profile.write_folded(BufWriter::new(File::create(to)?))?,
        _ => return Err(format!("{to}: allowed are .prof, .svg and .folded, and a base for .svg alone").into()),
    }
    profile.comments().iter().for_each(|comment| println!("{comment}"));
    for site in profile.top(10) {
        println!("{:>12} bytes in use  {}", site.inuse_bytes, site.function);
    }
    Ok(())
}
