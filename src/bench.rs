//! What benches/flamegraph.rs measures: the drawing of profiles that are made here.

use std::io::Write;
use std::time::SystemTime;

use crate::analysis::Top;
use crate::error::Result;
use crate::format::{flamegraph, folded};
use crate::profile::{Address, Frame, Function, INUSE_SPACE, Location, Profile, Trim};

/// A profile with names.
#[derive(Debug)]
pub struct NamedProfile(Profile);

impl NamedProfile {
    /// `stacks` different stacks of `depth` frames. The functions near the root are few and those near the leaf many;
    /// the last four frames are those of `Vec::push` and the allocator. The first stack holds `scale` times 4 MiB, the n-th the n-th part of that.
    pub fn new(stacks: u32, depth: u32, scale: i64) -> Self {
        let mut profile = Profile::new(SystemTime::UNIX_EPOCH, 1 << 19);
        for name in PLUMBING {
            push(&mut profile, name);
        }
        // A location for each call site that there can be at a depth: 1, 2, 4 … 4096 functions.
        let width = |depth: u32| 1u32 << depth.min(12);
        let own = depth.saturating_sub(PLUMBING.len() as u32);
        let mut firsts = Vec::new();
        for depth in 0..own {
            firsts.push(profile.locations.len() as u32);
            for function in 0..width(depth) {
                push(
                    &mut profile,
                    &format!(
                        "<service::layer_{depth}::Handler<alloc::string::String> as service::Handle>::call_{function}::{{closure#0}}"
                    ),
                );
            }
        }
        let mut seed = 42u64;
        for stack in 0..stacks {
            let mut frames: Vec<u32> = (0..PLUMBING.len() as u32).collect();
            for depth in (0..own).rev() {
                // The bits of the stack's own number choose near the root, so that all stacks differ.
                let choice = match depth {
                    0..=17 => stack >> 17u32.saturating_sub(depth),
                    _ => random(&mut seed) as u32,
                };
                frames.push(firsts[depth as usize] + choice % width(depth));
            }
            // A few hold much and most hold little.
            let bytes = (1 << 22) / i64::from(stack + 1) * scale;
            profile.push(frames, [1, bytes, 1, bytes], bytes);
        }
        Self(profile)
    }

    /// A flame graph of the bytes in use.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn flamegraph(&self, trim: &str) -> Result<Vec<u8>> {
        flamegraph::svg(&self.0, &flamegraph::Options { trim: trim.parse()?, ..Default::default() })
    }

    /// What changed from this profile to `later`.
    ///
    /// # Errors
    ///
    /// When nothing did.
    pub fn differential(&self, later: &Self) -> Result<Vec<u8>> {
        flamegraph::differential(&self.0, &later.0, &flamegraph::Options::default())
    }

    /// Every stack with bytes in use, as text.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn folded(&self, out: impl Write) -> Result<()> {
        let options = flamegraph::Options { min_percent: folded::DEFAULT_MIN_PERCENT, ..Default::default() };
        folded::write(&self.0, &options, out)
    }

    /// How many sites there are.
    pub fn sites(&self) -> usize {
        Top::of(&self.0, INUSE_SPACE, 20, Trim::Std).sites
    }
}

const PLUMBING: [&str; 4] = [
    "imalloc_fastpath",
    "__rustc::__rust_alloc",
    "alloc::raw_vec::RawVec<T,A>::grow_one",
    "alloc::vec::Vec<T,A>::push",
];

fn push(profile: &mut Profile, name: &str) {
    let function = Function { name: name.into(), system_name: name.into(), file: "src/lib.rs".into(), line: 1 };
    let address = Address(0x1000 + profile.locations.len() as u64);
    profile.locations.push(Location { address, mapping: None, frame: Frame::Known([function].into()) });
}

/// xorshift64.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
