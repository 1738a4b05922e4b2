//! How much of a stack is taken for plumbing and not shown.

mod rules;
mod trimmer;

use std::str::FromStr;
use std::sync::LazyLock;

use crate::error::{Error, Result};

pub(crate) use rules::is_of_a_dependency;
pub(crate) use trimmer::Trimmer;

/// How much of a stack's leafward end is plumbing that nobody wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trim {
    /// Nothing: every frame is shown.
    None,
    /// The allocator: from the outermost of its functions on, nothing is shown.
    Allocator,
    /// Also what the language and its collections allocate on their own account: `Vec::push`, `HashMap::insert`.
    #[default]
    Std,
}

impl Trim {
    const ALL: [(&str, Self); 3] = [("none", Self::None), ("allocator", Self::Allocator), ("std", Self::Std)];

    /// For profile.proto's `drop_frames`: a regular expression in RE2's syntax, which viewers match against whole
    /// function names, up to the first round bracket. Empty when nothing is to be dropped.
    pub(crate) fn drop_frames(self) -> &'static str {
        static ALLOCATOR: LazyLock<String> = LazyLock::new(|| rules::expression(Trim::Allocator));
        static STD: LazyLock<String> = LazyLock::new(|| rules::expression(Trim::Std));
        match self {
            Self::None => "",
            Self::Allocator => &ALLOCATOR,
            Self::Std => &STD,
        }
    }
}

impl FromStr for Trim {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.iter().find(|(name, _)| *name == text);
        known.map(|(_, trim)| *trim).ok_or_else(|| {
            let allowed = Self::ALL.map(|(name, _)| name).join(", ");
            Error::config(format!("trim is `{text}`: allowed is {allowed}"))
        })
    }
}

#[cfg(test)]
mod tests;
