//! Who profiles.

use std::net::SocketAddr;
use std::process::Command;

use heapward::{ByteSize, Profiler};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::common::{Result, command};
use crate::hooks;
use crate::http::get;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// jemalloc with `prof:false`.
    Off,
    /// jemalloc as `install!` sets it up, and nobody wakes it.
    Asleep,
    /// jemalloc's profiler as it is shipped, with libgcc's unwinder; no heapward.
    Libgcc,
    /// The same with a backtrace hook that returns one frame: what nobody can do without.
    OneFrame,
    /// heapward with that hook.
    HeapwardOneFrame,
    /// heapward with the unwinder of this name.
    Heapward(&'static str),
    /// dhat 0.3, which records every allocation.
    Dhat,
}

/// What heapward says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// The unwinder in use.
    pub unwinder: String,
    /// Why it is that one, where it says so.
    pub why: String,
    /// Stacks of which an unwinder of heapward's own found a part only.
    pub truncated: Option<u64>,
    pub samples: u64,
    pub dropped: u64,
    pub stacks: u64,
    pub frames: u64,
}

/// All that can be asked for; `jemalloc` is what this release falls back to.
pub const UNWINDERS: [&str; 3] = ["jemalloc", "eh_frame", "frame_pointers"];

/// Whatever heapward chooses.
pub const DEFAULT: &str = "auto";

impl Variant {
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Off, Self::Asleep, Self::Libgcc, Self::OneFrame, Self::HeapwardOneFrame]
            .into_iter()
            .chain(UNWINDERS.map(Self::Heapward))
            .chain([Self::Dhat])
    }

    pub fn name(self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Asleep => "asleep".to_owned(),
            Self::Libgcc => "jemalloc (libgcc)".to_owned(),
            Self::OneFrame => "jemalloc, one frame".to_owned(),
            Self::HeapwardOneFrame => "heapward, one frame".to_owned(),
            Self::Heapward(unwinder) => format!("heapward ({unwinder})"),
            Self::Dhat => "dhat 0.3".to_owned(),
        }
    }

    pub fn find(name: &str) -> Result<Self> {
        Self::all()
            .chain([Self::Heapward(DEFAULT)])
            .find(|variant| variant.name() == name)
            .ok_or_else(|| format!("no variant `{name}`").into())
    }

    /// Whether it takes a sample every so many bytes.
    pub fn samples(self) -> bool {
        !matches!(self, Self::Off | Self::Asleep | Self::Dhat)
    }

    /// Whether the depth of stacks matters to it.
    pub fn unwinds(self) -> bool {
        matches!(self, Self::Libgcc | Self::Heapward(_) | Self::Dhat)
    }

    /// The child that runs it, at one sample every `2^lg` bytes.
    pub fn command(self, lg: u32, arguments: &[&str]) -> Result<Command> {
        let name = self.name();
        let arguments: Vec<&str> = [name.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        let mut child = command(&arguments)?;
        let conf = match self {
            Self::Off | Self::Dhat => "prof:false".to_owned(),
            Self::Libgcc => format!("prof:true,prof_active:true,lg_prof_sample:{lg}"),
            _ => format!("prof:true,prof_active:false,lg_prof_sample:{lg}"),
        };
        child.env("MALLOC_CONF", &conf).env("_RJEM_MALLOC_CONF", &conf);
        match self {
            Self::Heapward(unwinder) => child.env("HEAPWARD_UNWINDER", unwinder),
            _ => child.env_remove("HEAPWARD_UNWINDER"),
        };
        Ok(child)
    }

    /// In the child: starts it.
    pub fn start(self) -> Result<Running> {
        let mut running = Running { heapward: None, dhat: None };
        match self {
            Self::Off | Self::Asleep | Self::Libgcc => {}
            Self::OneFrame => {
                hooks::one_frame()?;
                hooks::activate()?;
            }
            Self::HeapwardOneFrame | Self::Heapward(_) => {
                let builder =
                    Profiler::builder().listen("127.0.0.1:0").profiles_dir("off").rss_threshold(ByteSize::gib(1 << 20));
                let profiler = builder.start()?;
                if self == Self::HeapwardOneFrame {
                    hooks::one_frame()?;
                }
                running.heapward = Some(profiler);
            }
            Self::Dhat => running.dhat = Some(dhat::Profiler::builder().testing().build()),
        }
        Ok(running)
    }
}

/// Keeps the profiler.
pub struct Running {
    heapward: Option<Profiler>,
    dhat: Option<dhat::Profiler>,
}

impl Running {
    /// What heapward says of itself, where it is heapward.
    pub fn ask(&self) -> Result<Option<Told>> {
        self.heapward.as_ref().and_then(Profiler::address).map(ask).transpose()
    }

    pub fn is_dhat(&self) -> bool {
        self.dhat.is_some()
    }
}

fn ask(address: SocketAddr) -> Result<Told> {
    let report: Value = serde_json::from_slice(&get(address, "/api/memory")?)?;
    let number = |field: &str| report["collector"][field].as_u64().unwrap_or(0);
    let unwinder = &report["unwinder"];
    let rejected = unwinder["rejected"].as_array().into_iter().flatten();
    let reasons: Vec<String> = rejected.map(|one| format!("{}: {}", one["name"], one["reason"])).collect();
    Ok(Told {
        // Before there was a choice, it was jemalloc's own.
        unwinder: unwinder["name"].as_str().unwrap_or("jemalloc").to_owned(),
        why: match unwinder.is_null() {
            true => "this version has no choice of unwinders".to_owned(),
            false => reasons.join("; "),
        },
        truncated: unwinder["truncated_stacks"].as_u64(),
        samples: number("samples"),
        dropped: number("dropped_samples") + number("dropped_stacks"),
        stacks: number("stacks"),
        frames: number("stack_frames"),
    })
}
