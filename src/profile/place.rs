//! One frame of a stack as it is shown.

use std::borrow::Cow;

use super::{Function, Location, Mapping, Profile};

/// What stands for the function of a stack without frames.
pub(crate) const NO_STACK: &str = "[no stack]";

/// One function of a location, or the location itself where no name is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'p> {
    /// Where in the code.
    pub location: &'p Location,
    /// The file that the location is in.
    pub mapping: Option<&'p Mapping>,
    /// One of the location's functions.
    pub function: Option<&'p Function>,
}

impl Profile {
    /// The frames of a location of this profile, the innermost inlined function first; at least one.
    pub(crate) fn places<'p>(&'p self, location: &'p Location) -> impl DoubleEndedIterator<Item = Place<'p>> {
        let mapping = location.mapping.and_then(|index| self.mappings.get(index as usize));
        let functions = location.frame.functions();
        (0..functions.len().max(1)).map(move |line| Place { location, mapping, function: functions.get(line) })
    }
}

impl<'p> Place<'p> {
    /// The function's name; without one the file with the offset in it, `service+0x1f2a`; the address without a file.
    pub(crate) fn name(&self) -> Cow<'p, str> {
        match self.function {
            Some(function) if !function.name.is_empty() => Cow::Borrowed(&function.name),
            _ => Cow::Owned(self.address()),
        }
    }

    fn address(&self) -> String {
        let address = self.location.address.0;
        match self.mapping {
            Some(mapping) => {
                let file = mapping.path.rsplit('/').next().unwrap_or(&mapping.path);
                // A profile that was read may say that an address is in a mapping that does not hold it.
                let offset = address.wrapping_sub(mapping.start).wrapping_add(mapping.file_offset);
                format!("{file}+{offset:#x}")
            }
            None => format!("{address:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Address, Frame, Unknown};

    #[track_caller]
    fn check(address: u64, mapping: Option<&Mapping>, expect: &str) {
        let location = Location { address: Address(address), mapping: None, frame: Frame::Unknown(Unknown::NoSymbol) };
        assert_eq!(Place { location: &location, mapping, function: None }.name(), expect);
    }

    #[test]
    fn without_a_function_the_file_is_named() {
        let mapping =
            Mapping { start: 0x1000, limit: 0x9000, file_offset: 0x10, path: "/opt/service".into(), build_id: None };
        check(0x1234, Some(&mapping), "service+0x244");
        check(0x1234, None, "0x1234");
        check(0, Some(&mapping), "service+0xfffffffffffff010");
    }
}
