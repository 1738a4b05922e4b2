//! The samples of a file, straight into a profile.

use super::sample_types::SampleTypes;
use super::tables::{LABEL, LOCATION_ID, SAMPLE, Tables, VALUE};
use super::wire::{Field, Wire};
use crate::error::Result;
use crate::format::read::Budget;
use crate::profile::{Profile, ProfileSample};

/// Adds all samples to `profile`, which has everything else already.
pub(super) fn read(
    wire: &mut Wire<'_>,
    tables: &mut Tables,
    sample_types: &SampleTypes,
    profile: &mut Profile,
    budget: &mut Budget,
) -> Result<()> {
    budget.take_many::<ProfileSample>(tables.samples)?;
    budget.take_many::<u32>(tables.frames)?;
    profile.reserve(tables.samples, tables.frames);
    let mut reader = Reader { tables, sample_types, budget, stack: Vec::new(), values: Vec::new(), average_size: 0 };
    let mut number = 0;
    wire.fields(|wire, field| {
        if field.number == SAMPLE {
            number += 1;
            reader.sample(wire, field, number)?;
            profile.push(reader.stack.iter().copied(), reader.our_values(), reader.average_size);
        }
        Ok(())
    })?;
    let strings = &tables.strings;
    tables.left_out.name_labels(|key| strings.get(key).map_or("", |text| &**text));
    Ok(())
}

struct Reader<'t> {
    tables: &'t mut Tables,
    sample_types: &'t SampleTypes,
    budget: &'t mut Budget,
    /// Of the sample that was read last.
    stack: Vec<u32>,
    values: Vec<i64>,
    average_size: i64,
}

impl Reader<'_> {
    fn sample(&mut self, wire: &mut Wire<'_>, field: Field, number: u64) -> Result<()> {
        self.stack.clear();
        self.values.clear();
        self.average_size = 0;
        let at = field.at;
        let expected = self.sample_types.0.len();
        wire.message(field, "sample", number, |wire, field| match field.number {
            LOCATION_ID => wire.repeated(field, "location_id", |wire, id| match self.tables.location_ids.find(id) {
                Some(index) => {
                    self.stack.push(index as u32);
                    Ok(())
                }
                None => Err(wire.malformed(field.at, &format!("location id {id} is not in the profile"))),
            }),
            VALUE => wire.repeated(field, "value", |wire, value| {
                if self.values.len() == expected {
                    let what = format!("more than {expected} values, as many as there are sample types");
                    return Err(wire.malformed(field.at, &what));
                }
                self.values.push(value.cast_signed());
                Ok(())
            }),
            LABEL => self.label(wire, field),
            _ => {
                self.tables.left_out.unknown_fields += 1;
                Ok(())
            }
        })?;
        if self.values.len() != expected {
            let what =
                format!("sample {number} has {} values, and there are {expected} sample types", self.values.len());
            return Err(wire.malformed(at, &what));
        }
        Ok(())
    }

    /// Keeps the average size; counts any other label.
    fn label(&mut self, wire: &mut Wire<'_>, field: Field) -> Result<()> {
        let (mut key, mut text, mut number) = (0, 0, 0);
        let at = field.at;
        wire.message(field, "label", 1, |wire, field| {
            match field.number {
                1 => key = wire.int64(field, "key")?,
                2 => text = wire.int64(field, "str")?,
                3 => number = wire.int64(field, "num")?,
                // The unit of `bytes` is known; another label is left out with its unit.
                4 => drop(wire.int64(field, "num_unit")?),
                _ => self.tables.left_out.unknown_fields += 1,
            }
            Ok(())
        })?;
        let Some(index) = usize::try_from(key).ok().filter(|&index| index < self.tables.strings.len()) else {
            let what = format!("a label's key is string {key}, and the string table has {}", self.tables.strings.len());
            return Err(wire.malformed(at, &what));
        };
        if text == 0 && &*self.tables.strings[index] == "bytes" {
            self.average_size = number.max(0);
            return Ok(());
        }
        self.tables.left_out.label(index, self.budget)
    }

    /// The four values in our order; 0 where the file has none.
    fn our_values(&self) -> [i64; 4] {
        let mut ours = [0; 4];
        for (place, &value) in self.sample_types.0.iter().zip(&self.values) {
            if let Some(slot) = place.and_then(|slot| ours.get_mut(slot)) {
                *slot = value;
            }
        }
        ours
    }
}
