//! Which sites hold and allocate the most.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::profile::{NO_STACK, Place, Profile, Trim, Trimmer};

/// Where a person would look: the first frame from the leaf that is not plumbing. See [`Trimmer::site`].
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
    /// The `count` largest sites of `profile` by the value at index `by`. With less than [`Trim::Std`], the leaves that
    /// are left after the cut.
    pub(crate) fn of(profile: &Profile, by: usize, count: usize, trim: Trim) -> Self {
        let trimmer = Trimmer::of(profile, trim);
        let mut sites: HashMap<SiteKey<'_>, [i64; 4]> = HashMap::new();
        for sample in &profile.samples {
            let values = sites.entry(site(trimmer.site(sample))).or_default();
            for (sum, value) in values.iter_mut().zip(sample.values) {
                *sum = sum.saturating_add(value);
            }
        }
        let found = sites.len();
        let mut rows: Vec<(SiteKey<'_>, [i64; 4])> = sites.into_iter().collect();
        let size = |values: &[i64; 4]| values.get(by).map(|value| value.unsigned_abs());
        rows.sort_by(|(a_site, a), (b_site, b)| size(b).cmp(&size(a)).then_with(|| a_site.cmp(b_site)));
        rows.truncate(count);
        let row = |((function, file, line), values): (SiteKey<'_>, _)| {
            let site = Site { function: function.into_owned(), file: file.to_owned(), line };
            TopRow { site, values }
        };
        Self { rows: rows.into_iter().map(row).collect(), totals: profile.totals(), sites: found }
    }
}

impl Site {
    pub(super) fn of(place: &Place<'_>) -> Self {
        let (file, line) = place.function.map_or(("", 0), |function| (&*function.file, function.line));
        Self { function: place.name().into_owned(), file: file.to_owned(), line }
    }
}

/// Function, file, line, as in [`Site`].
type SiteKey<'p> = (Cow<'p, str>, &'p str, u32);

fn site(place: Option<Place<'_>>) -> SiteKey<'_> {
    match place {
        Some(place) => {
            let (file, line) = place.function.map_or(("", 0), |function| (&*function.file, function.line));
            (place.name(), file, line)
        }
        None => (NO_STACK.into(), "", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Address, Frame, Function, Location, Mapping, Unknown};
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
        let top = Top::of(&profile(&[(&stack, 100), (&other, 50)]), 3, 10, Trim::Std);
        assert_eq!(top.rows.len(), 1);
        assert_eq!(top.rows[0].site.function, "service::session::open");
        assert_eq!(top.rows[0].values, [2, 150, 2, 150]);
    }

    #[test]
    fn a_frame_without_a_name_is_a_place_too() {
        let stack = [Frame::Unknown(Unknown::NoSymbol), known(&["main"])];
        let top = Top::of(&profile(&[(&stack, 1), (&[], 2)]), 3, 10, Trim::Std);
        assert_eq!(top.rows[0].site.function, "[no stack]");
        assert_eq!(top.rows[1].site.function, "service+0x244");
    }

    #[test]
    fn cut_rows_still_count_in_the_totals() {
        let (a, b) = ([known(&["a::x"])], [known(&["b::y"])]);
        let top = Top::of(&profile(&[(&a, 1), (&b, 2)]), 3, 1, Trim::Std);
        assert_eq!((top.rows.len(), top.sites, top.totals), (1, 2, [2, 3, 2, 3]));
        assert_eq!(top.rows[0].site.function, "b::y");
    }

    #[test]
    fn what_is_plumbing_is_asked() {
        let stacks: [(&[Frame], i64); 4] = [
            (&[known(&["malloc"]), known(&["alloc::vec::Vec<T,A>::push"]), known(&["a::x"]), known(&["main"])], 300),
            (&[known(&["malloc"]), known(&["core::iter::map"]), known(&["a::x"]), known(&["main"])], 200),
            (&[known(&["malloc"]), Frame::Unknown(Unknown::NoSymbol), known(&["main"])], 40),
            (&[known(&["imalloc_fastpath"]), known(&["malloc"])], 5),
        ];
        let mut text = String::new();
        for trim in [Trim::None, Trim::Allocator, Trim::Std] {
            let top = Top::of(&profile(&stacks), 3, 10, trim);
            text.push_str(&format!("{trim:?}: {} sites, {:?}\n", top.sites, top.totals));
            for TopRow { site, values } in &top.rows {
                text.push_str(&format!("{values:?} {} {}:{}\n", site.function, site.file, site.line));
            }
        }
        crate::golden::check("top.txt", text);
    }
}
