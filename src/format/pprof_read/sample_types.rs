//! Which of a file's values are which of ours, by name and unit.

use super::tables::Tables;
use super::wire::malformed;
use crate::error::Result;
use crate::format::heap_v2::quoted;
use crate::profile::{INUSE_SPACE, SAMPLE_TYPES};

/// Other names for our sample types: those of heap profiles before Go's had four values, which gperftools, tcmalloc and
/// pprof's own readers of text still write (`heapzSampleTypes` in google/pprof's `profile/legacy_profile.go`).
const ALIASES: [(&str, &str, usize); 2] = [("objects", "count", INUSE_SPACE - 1), ("space", "bytes", INUSE_SPACE)];

/// For each value of a sample, its place in [`SAMPLE_TYPES`]; `None` for one that is left out.
pub(super) struct SampleTypes(pub Vec<Option<usize>>);

impl SampleTypes {
    /// Finds our types among those of the file, whatever their order, and notes the others.
    ///
    /// # Errors
    ///
    /// When there is none: then it is no profile of a heap.
    pub(super) fn of(tables: &mut Tables) -> Result<Self> {
        let mut names = Vec::with_capacity(tables.sample_types.len());
        for (index, found) in tables.sample_types.iter().enumerate() {
            let path = [("sample_type", index as u64 + 1)];
            let name = tables.text(found.name, found.at, &path, "type")?.clone();
            let unit = tables.text(found.unit, found.at, &path, "unit")?.clone();
            names.push((name, unit));
        }
        let mut places = vec![None; names.len()];
        let mut taken = [false; SAMPLE_TYPES.len()];
        let exact = SAMPLE_TYPES.iter().enumerate().map(|(slot, known)| (known.name, known.unit, slot));
        // Exact names first: a file that has `space` beside `inuse_space` means something else by it.
        for (name, unit, slot) in exact.chain(ALIASES) {
            let found = names.iter().position(|(n, u)| (&**n, &**u) == (name, unit));
            if let Some(place) = found.and_then(|index| places.get_mut(index)).filter(|_| !taken[slot]) {
                *place = Some(slot);
                taken[slot] = true;
            }
        }
        let others = names.iter().zip(&places).filter(|(_, place)| place.is_none());
        let others: Vec<String> = others.map(|((name, unit), _)| quoted(format!("{name}/{unit}").as_bytes())).collect();
        if taken == [false; SAMPLE_TYPES.len()] {
            let found = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            let allowed: Vec<String> =
                SAMPLE_TYPES.iter().map(|known| format!("{}/{}", known.name, known.unit)).collect();
            let what = format!(
                "this is no heap profile: its sample types are {found}; allowed are {}, objects/count, space/bytes",
                allowed.join(", ")
            );
            let at = tables.sample_types.first().map_or(0, |first| first.at);
            return Err(malformed(at, &[], &what));
        }
        tables.left_out.sample_types = others;
        tables.left_out.missing_types =
            SAMPLE_TYPES.iter().zip(taken).filter(|(_, taken)| !taken).map(|(known, _)| known.name).collect();
        Ok(Self(places))
    }

    /// Our name for the type that a viewer shows first. A file that names none means its last one.
    pub(super) fn first_shown(&self, wanted: &str) -> Option<&'static str> {
        let has = |slot: usize| self.0.contains(&Some(slot));
        let alias = ALIASES.iter().find(|(name, ..)| *name == wanted).map(|&(_, _, slot)| slot);
        let slot = match wanted {
            "" if has(INUSE_SPACE) => Some(INUSE_SPACE),
            "" => self.0.iter().rev().find_map(|place| *place),
            _ => SAMPLE_TYPES.iter().position(|known| known.name == wanted).or(alias).filter(|&slot| has(slot)),
        };
        Some(SAMPLE_TYPES.get(slot?)?.name)
    }
}
