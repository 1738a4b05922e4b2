//! Which unwinder walks the stacks of samples.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// What walks the stacks of sampled allocations: parses `auto`, `frame_pointers`, `eh_frame` or `jemalloc`.
///
/// At start, each is tried on a known chain of calls; one that does not bring back exactly what libgcc does is not
/// used, and the next one is, whichever was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwinder {
    /// The fastest that works: frame pointers, else the unwind tables, else jemalloc's.
    #[default]
    Auto,
    /// Frame pointers, where the program and its jemalloc are built with them. Libraries need not be. Some of the stacks
    /// are checked against the unwind tables for as long as the service runs.
    FramePointers,
    /// The unwind tables of the loaded program (`.eh_frame`), which every release build has, with the rules that were looked
    /// up kept for all threads: the method of the framehop crate.
    EhFrame,
    /// jemalloc's own: libgcc's.
    Jemalloc,
}

impl Unwinder {
    /// All that can be in use, the best first.
    pub(crate) const IN_USE: [Self; 3] = [Self::FramePointers, Self::EhFrame, Self::Jemalloc];

    /// The word that it is called by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::FramePointers => "frame_pointers",
            Self::EhFrame => "eh_frame",
            Self::Jemalloc => "jemalloc",
        }
    }
}

impl FromStr for Unwinder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Auto, Self::FramePointers, Self::EhFrame, Self::Jemalloc];
        all.into_iter().find(|unwinder| unwinder.name() == text.trim()).ok_or_else(|| {
            Error::config(format!("`{text}` is unknown: allowed is auto, frame_pointers, eh_frame or jemalloc"))
        })
    }
}

impl fmt::Display for Unwinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_words_and_no_others() {
        for unwinder in Unwinder::IN_USE.into_iter().chain([Unwinder::Auto]) {
            assert_eq!(format!(" {unwinder} ").parse::<Unwinder>().unwrap(), unwinder);
        }
        for text in ["", "Auto", "frame-pointers", "libgcc"] {
            let error = text.parse::<Unwinder>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is unknown: allowed is auto, frame_pointers, eh_frame or jemalloc"));
        }
    }
}
