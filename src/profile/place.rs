//! One frame of a stack as it is shown.

use std::borrow::Cow;

use super::{Function, Location, Mapping, Profile, is_of_a_dependency};

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

    /// Whether it is no part of the program's own sources: by its file, and where none is known by being in a library.
    pub(crate) fn is_of_a_dependency(&self) -> bool {
        match self.function.map_or("", |function| &function.file) {
            "" => self.mapping.is_some_and(|mapping| is_a_library(&mapping.path)),
            file => is_of_a_dependency(file),
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

/// `libc.so.6`, `plugin.so`.
fn is_a_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".so") || name.contains(".so.")
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

    #[track_caller]
    fn check_dependency(expect: bool, path: &str, file: &str) {
        let mapping = Mapping { start: 0, limit: 9, file_offset: 0, path: path.into(), build_id: None };
        let location = Location { address: Address(1), mapping: None, frame: Frame::Unknown(Unknown::NoSymbol) };
        let function = Function { name: "f".into(), system_name: "f".into(), file: file.into(), line: 1 };
        let place = Place { location: &location, mapping: Some(&mapping), function: Some(&function) };
        assert_eq!(place.is_of_a_dependency(), expect, "{path} {file}");
    }

    #[test]
    fn a_dependency_is_known_by_its_file_or_else_its_library() {
        check_dependency(false, "/opt/service", "src/main.rs");
        check_dependency(false, "/opt/service", "");
        check_dependency(true, "/opt/service", "/home/me/.cargo/registry/src/index/warp-0.4.3/src/filter.rs");
        check_dependency(true, "/opt/service", "/rustc/abc/library/std/src/thread/mod.rs");
        check_dependency(true, "/lib/libc.so.6", "");
        check_dependency(true, "/opt/plugin.so", "");
        check_dependency(false, "/opt/plugin.so", "src/plugin.rs");
        check_dependency(false, "/opt/my.sofa", "");
    }
}
