//! Which sites hold and allocate the most.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::Amount;
use crate::profile::{NO_STACK, Place, Profile, SampleInterval, Sums, Trim, Trimmer};

/// Where a person would look: the first frame from the leaf that is not the allocator's, the language's or a
/// collection's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Site {
    /// Function, or the address with its file where there is no name.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: u32,
}

/// One site with its four values, in the order of [`crate::profile::SAMPLE_TYPES`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopRow {
    /// The site.
    pub site: Site,
    /// Estimated alloc_objects, alloc_space, inuse_objects, inuse_space.
    pub values: [i64; 4],
    /// What is in use, with how sure that is; `None` where nothing says how it was sampled.
    pub inuse: Option<Amount>,
}

/// The sites of a profile, largest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Top {
    /// Rows, largest first.
    pub rows: Vec<TopRow>,
    /// Sums over the whole profile, the rows that were cut included.
    pub totals: [i64; 4],
    /// What is in use of the whole profile.
    pub inuse: Option<Amount>,
    /// How many sites there are in all.
    pub sites: usize,
}

impl Top {
    /// The `count` largest sites of `profile` by the value at index `by`. With less than [`Trim::Std`], the leaves that
    /// are left after the cut.
    ///
    /// `live`: what was sampled at each of its samples. Where a file does not tell, that is derived from what its
    /// samples stand for, about.
    pub(crate) fn of(profile: &Profile, live: Option<&[Sums]>, by: usize, count: usize, trim: Trim) -> Self {
        let trimmer = Trimmer::of(profile, trim);
        let interval = SampleInterval::from_bytes(profile.sample_interval);
        let mut sites: HashMap<SiteKey<'_>, ([i64; 4], Option<Sums>)> = HashMap::new();
        let mut all = Some(Sums::default());
        for (at, sample) in profile.samples.iter().enumerate() {
            let (values, sums) = sites.entry(site(trimmer.site(sample))).or_insert(([0; 4], Some(Sums::default())));
            for (sum, value) in values.iter_mut().zip(sample.values) {
                *sum = sum.saturating_add(value);
            }
            let sampled = match (live, sample.values) {
                (Some(live), _) => live.get(at).copied(),
                (None, [.., 0, 0]) => Some(Sums::default()),
                (None, [.., objects, bytes]) => interval.and_then(|interval| interval.about(objects, bytes)),
            };
            *sums = add(*sums, sampled);
            all = add(all, sampled);
        }
        let found = sites.len();
        let mut rows: Vec<_> = sites.into_iter().collect();
        let size = |values: &[i64; 4]| values.get(by).map(|value| value.unsigned_abs());
        rows.sort_by(|(a_site, (a, _)), (b_site, (b, _))| size(b).cmp(&size(a)).then_with(|| a_site.cmp(b_site)));
        rows.truncate(count);
        let amount = |sums: Option<Sums>| sums.filter(|_| interval.is_some()).map(|sums| Amount::of(&sums));
        let row = |((function, file, line), (values, sums)): (SiteKey<'_>, ([i64; 4], Option<Sums>))| {
            let site = Site { function: function.into_owned(), file: file.to_owned(), line };
            TopRow { site, values, inuse: amount(sums) }
        };
        let rows = rows.into_iter().map(row).collect();
        Self { rows, totals: profile.totals(), inuse: amount(all), sites: found }
    }
}

/// Nothing is known of a sum when nothing is known of a part.
fn add(sum: Option<Sums>, part: Option<Sums>) -> Option<Sums> {
    Some(sum? + part?)
}

/// Function, file, line, as in [`Site`].
pub(super) type SiteKey<'p> = (Cow<'p, str>, &'p str, u32);

pub(super) fn site(place: Option<Place<'_>>) -> SiteKey<'_> {
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
        let top = Top::of(&profile(&[(&stack, 100), (&other, 50)]), None, 3, 10, Trim::Std);
        assert_eq!(top.rows.len(), 1);
        assert_eq!(top.rows[0].site.function, "service::session::open");
        assert_eq!(top.rows[0].values, [2, 150, 2, 150]);
    }

    #[test]
    fn a_frame_without_a_name_is_a_place_too() {
        let stack = [Frame::Unknown(Unknown::NoSymbol), known(&["main"])];
        let top = Top::of(&profile(&[(&stack, 1), (&[], 2)]), None, 3, 10, Trim::Std);
        assert_eq!(top.rows[0].site.function, "[no stack]");
        assert_eq!(top.rows[1].site.function, "service+0x244");
    }

    #[test]
    fn how_sure_a_site_is_rests_on_its_samples() {
        let (a, b) = ([known(&["a::x"])], [known(&["b::y"])]);
        let mut profile = profile(&[(&a, 0), (&b, 0), (&a, 0)]);
        profile.sample_interval = 1 << 19;
        let interval = SampleInterval::from_lg(19).unwrap();
        let live = [interval.weigh(4096).times(40), interval.weigh(1 << 24), interval.weigh(4096).times(60)];
        for (sample, sums) in profile.samples.iter_mut().zip(&live) {
            sample.values[2..].copy_from_slice(&[sums.estimated_objects as i64, sums.estimated_bytes as i64]);
        }
        let check = |top: Top, spread: f64| {
            let [a, b] = &top.rows[..] else { panic!("{top:?}") };
            assert_eq!((&*a.site.function, &*b.site.function), ("a::x", "b::y"));
            let (a, b) = (a.inuse.unwrap(), b.inuse.unwrap());
            assert_eq!((a.samples, b.samples, top.inuse.unwrap().samples), (100, 1, 101));
            // An object of 32 intervals is as good as certain; of 100 samples the standard error is a tenth.
            assert!(b.bytes.high - b.bytes.low < 0.01 * b.bytes.estimate, "{b:?}");
            let relative = (a.bytes.high - a.bytes.low) / a.bytes.estimate;
            assert!((relative - 0.39).abs() < spread, "{relative}");
        };
        check(Top::of(&profile, Some(&live), 3, 10, Trim::Std), 0.02);
        // As from a file.
        check(Top::of(&profile, None, 3, 10, Trim::Std), 0.02);
        // Something that shrank is a difference; and who does not say how samples were taken says nothing.
        profile.samples[2].values = [0, 0, -1, -4096];
        let top = Top::of(&profile, None, 3, 10, Trim::Std);
        assert!(top.inuse.is_none() && top.rows[0].inuse.is_none() && top.rows[1].inuse.is_some());
        profile.sample_interval = 0;
        assert!(Top::of(&profile, None, 3, 10, Trim::Std).rows.iter().all(|row| row.inuse.is_none()));
    }

    #[test]
    fn cut_rows_still_count_in_the_totals() {
        let (a, b) = ([known(&["a::x"])], [known(&["b::y"])]);
        let top = Top::of(&profile(&[(&a, 1), (&b, 2)]), None, 3, 1, Trim::Std);
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
            let top = Top::of(&profile(&stacks), None, 3, 10, trim);
            text.push_str(&format!("{trim:?}: {} sites, {:?}\n", top.sites, top.totals));
            for TopRow { site, values, .. } in &top.rows {
                text.push_str(&format!("{values:?} {} {}:{}\n", site.function, site.file, site.line));
            }
        }
        crate::golden::check("top.txt", text);
    }
}
