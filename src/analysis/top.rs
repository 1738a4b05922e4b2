//! Which sites hold and allocate the most.

use std::collections::HashMap;

use crate::profile::{Frame, Location, Profile, ProfileSample, plumbing};

/// Where a person would look: the first frame from the leaf that is not plumbing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    /// Function, or the address with its file where there is no name.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: u32,
}

/// One site with its four values, in the order of [`crate::profile::SAMPLE_TYPES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopRow {
    /// The site.
    pub site: Site,
    /// Estimated alloc_objects, alloc_space, inuse_objects, inuse_space.
    pub values: [i64; 4],
}

/// The sites of a profile, largest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    /// Rows, largest first.
    pub rows: Vec<TopRow>,
    /// Sums over the whole profile, the rows that were cut included.
    pub totals: [i64; 4],
    /// How many sites there are in all.
    pub sites: usize,
}

impl Top {
    /// The `count` largest sites of `profile` by the value at index `by`.
    pub(crate) fn of(profile: &Profile, by: usize, count: usize) -> Self {
        let mut sites: HashMap<Site, [i64; 4]> = HashMap::new();
        for sample in &profile.samples {
            let values = sites.entry(site(profile, sample)).or_default();
            for (sum, value) in values.iter_mut().zip(sample.values) {
                *sum = sum.saturating_add(value);
            }
        }
        let found = sites.len();
        let mut rows: Vec<TopRow> = sites.into_iter().map(|(site, values)| TopRow { site, values }).collect();
        rows.sort_by(|a, b| {
            let size = |row: &TopRow| row.values.get(by).map(|value| value.unsigned_abs());
            size(b)
                .cmp(&size(a))
                .then_with(|| a.site.function.cmp(&b.site.function))
                .then(a.site.line.cmp(&b.site.line))
        });
        rows.truncate(count);
        Self { rows, totals: profile.totals(), sites: found }
    }
}

fn site(profile: &Profile, sample: &ProfileSample) -> Site {
    let stack = profile.stack(sample);
    let locations = || stack.iter().filter_map(|&index| profile.locations.get(index as usize));
    for location in locations() {
        match &location.frame {
            Frame::Unknown(_) => return unknown(profile, location),
            Frame::Known(functions) => {
                if let Some(function) =
                    functions.iter().find(|function| plumbing(&function.name, &function.file).is_none())
                {
                    return Site {
                        function: function.name.to_string(),
                        file: function.file.to_string(),
                        line: function.line,
                    };
                }
            }
        }
    }
    // Nothing but plumbing: a thread of the runtime, say. The outermost name tells most.
    let root = locations().next_back().and_then(|location| location.frame.functions().last().cloned());
    match root {
        Some(function) => {
            Site { function: function.name.to_string(), file: function.file.to_string(), line: function.line }
        }
        None => Site { function: "[no stack]".to_owned(), file: String::new(), line: 0 },
    }
}

fn unknown(profile: &Profile, location: &Location) -> Site {
    let mapping = location.mapping.and_then(|index| profile.mappings.get(index as usize));
    let function = match mapping {
        Some(mapping) => {
            let file = mapping.path.rsplit('/').next().unwrap_or(&mapping.path);
            let offset = location.address.0.checked_sub(mapping.start);
            match offset.and_then(|offset| offset.checked_add(mapping.file_offset)) {
                Some(offset) => format!("{file}+{offset:#x}"),
                // A file may place an address outside of the mapping that it names.
                None => format!("{file}@{:#x}", location.address.0),
            }
        }
        None => format!("{:#x}", location.address.0),
    };
    Site { function, file: String::new(), line: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Address, Function, Mapping, Unknown};
    use std::time::SystemTime;

    fn known(names: &[&str]) -> Frame {
        let function = |name: &&str| Function {
            name: (*name).into(),
            system_name: (*name).into(),
            file: "src/lib.rs".into(),
            line: 7,
        };
        Frame::Known(names.iter().map(function).collect())
    }

    fn profile(stacks: &[(&[Frame], i64)]) -> Profile {
        let mut profile = Profile::new(SystemTime::UNIX_EPOCH, 1);
        profile.mappings.push(Mapping {
            start: 0x1000,
            limit: 0x9000,
            file_offset: 0x10,
            path: "/opt/service".to_owned(),
            build_id: None,
        });
        for (frames, bytes) in stacks {
            let first = profile.locations.len() as u32;
            profile.locations.extend(frames.iter().map(|frame| Location {
                address: Address(0x1234),
                mapping: Some(0),
                frame: frame.clone(),
            }));
            profile.push(first..first + frames.len() as u32, [1, *bytes, 1, *bytes], 0);
        }
        profile
    }

    #[test]
    fn plumbing_is_skipped_also_where_it_is_inlined() {
        let stack = [
            known(&["alloc::raw_vec::RawVec<T,A>::grow_one"]),
            known(&["<alloc::vec::Vec<u8>>::push", "service::session::open"]),
        ];
        let other = [known(&["service::session::open"]), known(&["main"])];
        let top = Top::of(&profile(&[(&stack, 100), (&other, 50)]), 3, 10);
        assert_eq!(top.rows.len(), 1);
        assert_eq!(top.rows[0].site.function, "service::session::open");
        assert_eq!(top.rows[0].values, [2, 150, 2, 150]);
    }

    #[test]
    fn a_frame_without_a_name_is_a_place_too() {
        let stack = [Frame::Unknown(Unknown::NoSymbol), known(&["main"])];
        let top = Top::of(&profile(&[(&stack, 1), (&[], 2)]), 3, 10);
        assert_eq!(top.rows[0].site.function, "[no stack]");
        assert_eq!(top.rows[1].site.function, "service+0x244");
    }

    #[test]
    fn cut_rows_still_count_in_the_totals() {
        let (a, b) = ([known(&["a::x"])], [known(&["b::y"])]);
        let top = Top::of(&profile(&[(&a, 1), (&b, 2)]), 3, 1);
        assert_eq!((top.rows.len(), top.sites, top.totals), (1, 2, [2, 3, 2, 3]));
        assert_eq!(top.rows[0].site.function, "b::y");
    }
}
