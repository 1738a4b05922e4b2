//! Names for an address. A miss is data, with its reason.

use std::sync::Arc;

/// A function with the line in it that an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    /// Demangled name with its crate path.
    pub name: Arc<str>,
    /// The symbol as the linker knows it; the same as `name` when no other is known.
    pub system_name: Arc<str>,
    /// Source file; empty when the debug information does not say.
    pub file: Arc<str>,
    /// Line in `file`; 0 when unknown.
    pub line: u32,
}

/// Why an address has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unknown {
    /// No loaded file covers the address.
    NoMapping,
    /// The file that covered the address has been unloaded since.
    Unloaded,
    /// The file on disk is not the one that was loaded: it was replaced since.
    Replaced,
    /// The file was loaded in an earlier run, and has no build id by which it could be known again.
    Unidentified,
    /// The file has no symbol there.
    NoSymbol,
    /// The file could not be read, or is damaged.
    Unreadable,
    /// Nobody asked for names.
    NotAsked,
}

impl Unknown {
    /// The reason in words.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoMapping => "no loaded file covers the address",
            Self::Unloaded => "the file was unloaded since",
            Self::Replaced => "the file on disk is another build",
            Self::Unidentified => "the file has no build id, and was loaded in an earlier run",
            Self::NoSymbol => "the file has no symbol there",
            Self::Unreadable => "the file could not be read",
            Self::NotAsked => "names were not asked for",
        }
    }
}

/// What is known about one address: the functions, innermost inlined one first, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// At least one function.
    Known(Arc<[Function]>),
    /// No name, and why.
    Unknown(Unknown),
}

impl Frame {
    /// The functions, innermost first; empty when unknown.
    pub(crate) fn functions(&self) -> &[Function] {
        match self {
            Self::Known(functions) => functions,
            Self::Unknown(_) => &[],
        }
    }
}
