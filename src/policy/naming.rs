//! Whether there is room to look names up.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::profile::{ByteSize, CgroupMemory};

/// When names are looked up for the addresses of a profile: parses `auto`, `never` or `always`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Symbolize {
    /// While there is headroom to the memory limit, and where no limit is known.
    #[default]
    Auto,
    /// Not at all: profiles have addresses and build ids, for a viewer that has the files.
    Never,
    /// Whatever the headroom.
    Always,
}

impl FromStr for Symbolize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            _ => Err(Error::config(format!("`{text}` is unknown: allowed is auto, never or always"))),
        }
    }
}

impl fmt::Display for Symbolize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Always => "always",
        })
    }
}

/// Whether names may be looked up now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// They may.
    Allowed,
    /// They may not, and why, as a sentence for whoever reads the profile.
    Declined(String),
}

impl Naming {
    /// Decides by the setting, the headroom that there must be, and the control group of the last reading.
    pub(crate) fn decide(setting: Symbolize, budget: ByteSize, cgroup: &CgroupMemory) -> Self {
        match (setting, cgroup.limit, cgroup.usage) {
            (Symbolize::Never, ..) => {
                Self::Declined("names were not looked up: HEAPWARD_SYMBOLIZE is never".to_owned())
            }
            (Symbolize::Auto, Some(limit), Some(usage)) if limit.saturating_sub(usage) < budget.as_u64() => {
                Self::Declined(format!(
                    "names were not looked up: {} of headroom to the memory limit of {}, below the {budget} of \
                     HEAPWARD_SYMBOLIZE_HEADROOM",
                    ByteSize::bytes(limit.saturating_sub(usage)),
                    ByteSize::bytes(limit),
                ))
            }
            _ => Self::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[track_caller]
    fn check(setting: Symbolize, limit: Option<u64>, usage: Option<u64>, expect: Naming) {
        let cgroup = CgroupMemory { limit, usage };
        assert_eq!(Naming::decide(setting, ByteSize::mib(256), &cgroup), expect, "{setting} {limit:?} {usage:?}");
    }

    fn declined(headroom: &str) -> Naming {
        Naming::Declined(format!(
            "names were not looked up: {headroom} of headroom to the memory limit of 512.0 MiB, below the 256.0 MiB of \
             HEAPWARD_SYMBOLIZE_HEADROOM"
        ))
    }

    #[test]
    fn auto_wants_its_headroom() {
        check(Symbolize::Auto, Some(512 * MIB), Some(392 * MIB), declined("120.0 MiB"));
        check(Symbolize::Auto, Some(512 * MIB), Some(256 * MIB + 1), declined("256.0 MiB"));
        check(Symbolize::Auto, Some(512 * MIB), Some(256 * MIB), Naming::Allowed);
        // Usage can be above a limit that was just lowered.
        check(Symbolize::Auto, Some(512 * MIB), Some(600 * MIB), declined("0 B"));
    }

    #[test]
    fn what_is_unknown_declines_nothing() {
        check(Symbolize::Auto, None, None, Naming::Allowed);
        check(Symbolize::Auto, None, Some(600 * MIB), Naming::Allowed);
        check(Symbolize::Auto, Some(512 * MIB), None, Naming::Allowed);
    }

    #[test]
    fn always_and_never_ask_no_reading() {
        check(Symbolize::Always, Some(512 * MIB), Some(512 * MIB), Naming::Allowed);
        let never = Naming::Declined("names were not looked up: HEAPWARD_SYMBOLIZE is never".to_owned());
        check(Symbolize::Never, None, None, never.clone());
        check(Symbolize::Never, Some(512 * MIB), Some(0), never);
    }

    #[test]
    fn parses_its_own_words_and_no_others() {
        for setting in [Symbolize::Auto, Symbolize::Never, Symbolize::Always] {
            assert_eq!(setting.to_string().parse::<Symbolize>().unwrap(), setting);
        }
        for text in ["", "Auto!", "on", "banana"] {
            let error = text.parse::<Symbolize>().unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` is unknown: allowed is auto, never or always"));
        }
    }
}
