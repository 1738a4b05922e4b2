//! What a process has in memory, by what it is.

use serde::{Deserialize, Serialize};

use crate::common::Result;

/// In bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Resident {
    pub rss: u64,
    pub pss: u64,
    /// Pages of the executable file: code and constants that were touched, and data.
    pub program: u64,
    /// The same of shared libraries.
    pub libraries: u64,
    /// What no file is behind: heap, tables, stacks.
    pub anonymous: u64,
    pub other: u64,
}

impl Resident {
    /// Of this process.
    pub fn read() -> Result<Self> {
        let program = std::env::current_exe()?;
        let program = program.to_string_lossy();
        let mut resident = Self::default();
        let mut kind = Kind::Other;
        for line in std::fs::read_to_string("/proc/self/smaps")?.lines() {
            let mut words = line.split_ascii_whitespace();
            let first = words.next().unwrap_or_default();
            if !first.ends_with(':') {
                // `start-end flags offset device inode path`
                kind = Kind::of(words.nth(4).unwrap_or_default(), &program);
                continue;
            }
            if first != "Rss:" && first != "Pss:" {
                continue;
            }
            let bytes = words.next().and_then(|kib| kib.parse::<u64>().ok()).ok_or("no number in smaps")? << 10;
            if first == "Pss:" {
                resident.pss += bytes;
                continue;
            }
            resident.rss += bytes;
            *match kind {
                Kind::Program => &mut resident.program,
                Kind::Library => &mut resident.libraries,
                Kind::Anonymous => &mut resident.anonymous,
                Kind::Other => &mut resident.other,
            } += bytes;
        }
        Ok(resident)
    }
}

enum Kind {
    Program,
    Library,
    Anonymous,
    Other,
}

impl Kind {
    fn of(path: &str, program: &str) -> Self {
        match path {
            "" | "[heap]" | "[stack]" => Self::Anonymous,
            _ if path == program => Self::Program,
            _ if path.contains(".so") => Self::Library,
            _ if path.starts_with("[anon") => Self::Anonymous,
            _ => Self::Other,
        }
    }
}
