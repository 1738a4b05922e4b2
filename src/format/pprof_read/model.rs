//! From the tables of a file to a profile without its samples.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::left_out::LeftOut;
use super::sample_types::SampleTypes;
use super::tables::Tables;
use crate::error::Result;
use crate::format::heap_v2::quoted;
use crate::format::read::Budget;
use crate::profile::{Address, BuildId, Frame, Function, Location, Mapping, Profile, Unknown};

/// Everything but the samples, and what their values mean.
pub(super) fn build(tables: &mut Tables, budget: &mut Budget) -> Result<(Profile, SampleTypes)> {
    let mut left_out = std::mem::take(&mut tables.left_out);
    let (mappings, places) = mappings(tables, &mut left_out, budget)?;
    let locations = locations(tables, &places, &mut left_out, budget)?;
    tables.left_out = left_out;

    let sample_types = SampleTypes::of(tables)?;
    let mut profile = Profile::new(time(tables), sample_interval(tables)?);
    profile.mappings = mappings;
    profile.locations = locations;
    match u64::try_from(tables.duration_nanos) {
        Ok(nanos) => profile.duration = Duration::from_nanos(nanos),
        Err(_) => tables.left_out.remarks.push(format!("a duration of {} ns", tables.duration_nanos)),
    }
    default_sample_type(tables, &sample_types, &mut profile)?;
    let keep_frames = tables.text(tables.keep_frames.number, tables.keep_frames.at, &[], "keep_frames")?;
    if !keep_frames.is_empty() {
        let remark = format!("keep_frames {}", quoted(keep_frames.as_bytes()));
        tables.left_out.remarks.push(remark);
    }
    for comment in &tables.comments {
        let text = tables.text(comment.number, comment.at, &[], "comment")?;
        budget.take(size_of::<String>() + text.len())?;
        profile.comments.push(text.to_string());
    }
    Ok((profile, sample_types))
}

/// 1970 is what a file says that knows no time, and no heap is older.
fn time(tables: &mut Tables) -> SystemTime {
    let since = u64::try_from(tables.time_nanos).unwrap_or_else(|_| {
        tables.left_out.remarks.push(format!("a time of {} ns, before 1970", tables.time_nanos));
        0
    });
    SystemTime::UNIX_EPOCH + Duration::from_nanos(since)
}

/// R: the period, where it counts bytes.
fn sample_interval(tables: &mut Tables) -> Result<u64> {
    let period = u64::try_from(tables.period).unwrap_or(0);
    let Some(found) = tables.period_type else { return Ok(period) };
    let path = [("period_type", 1)];
    let name = tables.text(found.name, found.at, &path, "type")?.clone();
    let unit = tables.text(found.unit, found.at, &path, "unit")?.clone();
    match (&*name, &*unit) {
        ("space", "bytes") | ("", "") => Ok(period),
        _ => {
            let remark = format!("a period of {} in {}", tables.period, quoted(format!("{name}/{unit}").as_bytes()));
            tables.left_out.remarks.push(remark);
            Ok(0)
        }
    }
}

fn default_sample_type(tables: &mut Tables, sample_types: &SampleTypes, profile: &mut Profile) -> Result<()> {
    let wanted = tables.default_sample_type;
    let wanted = tables.text(wanted.number, wanted.at, &[], "default_sample_type")?.clone();
    let shown = sample_types.first_shown(&wanted).or_else(|| {
        tables.left_out.remarks.push(format!("default_sample_type {}", quoted(wanted.as_bytes())));
        sample_types.first_shown("")
    });
    if let Some(shown) = shown {
        profile.default_sample_type = shown;
    }
    Ok(())
}

/// The mappings sorted by start, and where each of the file's is among them.
fn mappings(tables: &Tables, left_out: &mut LeftOut, budget: &mut Budget) -> Result<(Vec<Mapping>, Vec<u32>)> {
    budget.take_many::<(Mapping, u32, u32)>(tables.mappings.len())?;
    let mut order: Vec<u32> = (0..tables.mappings.len() as u32).collect();
    order.sort_by_key(|&index| tables.mappings[index as usize].start);
    let mut places = vec![0; order.len()];
    let mut mappings = Vec::with_capacity(order.len());
    for (place, &index) in order.iter().enumerate() {
        let raw = tables.mappings[index as usize];
        let path = [("mapping", u64::from(index) + 1)];
        let file = tables.text(raw.file, raw.at, &path, "filename")?;
        let id = tables.text(raw.build_id, raw.at, &path, "build_id")?;
        // One long name may be that of every mapping.
        budget.take(file.len() + id.len())?;
        let build_id = build_id(id);
        left_out.build_ids += u64::from(build_id.is_none() && !id.is_empty());
        places[index as usize] = place as u32;
        mappings.push(Mapping {
            start: raw.start,
            limit: raw.limit,
            file_offset: raw.file_offset,
            path: file.to_string(),
            build_id,
        });
    }
    Ok((mappings, places))
}

/// The bytes that pairs of hexadecimal digits stand for.
fn build_id(digits: &str) -> Option<BuildId> {
    let digits = digits.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        u8::try_from(digit(0)? << 4 | digit(1)?).ok()
    };
    Some(BuildId(digits.chunks_exact(2).map(byte).collect::<Option<Box<[u8]>>>()?))
}

fn locations(tables: &Tables, places: &[u32], left_out: &mut LeftOut, budget: &mut Budget) -> Result<Vec<Location>> {
    budget.take_many::<Location>(tables.locations.len())?;
    let mut locations = Vec::with_capacity(tables.locations.len());
    let mut lines = tables.lines.iter();
    for (index, raw) in tables.locations.iter().enumerate() {
        let path = [("location", index as u64 + 1)];
        let mapping = match raw.mapping_id {
            0 => None,
            id => Some(places[tables.mapping_ids.require(id, raw.at, &path)?]),
        };
        let mut functions = Vec::new();
        for line in lines.by_ref().take(raw.lines as usize) {
            match function(tables, line.function_id, line.line, raw.at, &path)? {
                Some(function) => functions.push(function),
                None => left_out.nameless_lines += 1,
            }
        }
        let frame = if functions.is_empty() {
            Frame::Unknown(Unknown::NotAsked)
        } else {
            // Two counts stand before the functions.
            budget.take(2 * size_of::<usize>())?;
            budget.take_many::<Function>(functions.len())?;
            Frame::Known(functions.into())
        };
        locations.push(Location { address: Address(raw.address), mapping, frame });
    }
    Ok(locations)
}

/// The function of a line; `None` when it has no name.
fn function(tables: &Tables, id: u64, line: u32, at: u64, path: &[(&'static str, u64)]) -> Result<Option<Function>> {
    if id == 0 {
        return Ok(None);
    }
    let index = tables.function_ids.require(id, at, path)?;
    let raw = tables.functions[index];
    let path = [("function", index as u64 + 1)];
    let name = tables.text(raw.name, raw.at, &path, "name")?;
    let system_name = tables.text(raw.system_name, raw.at, &path, "system_name")?;
    let file = tables.text(raw.file, raw.at, &path, "filename")?;
    let (name, system_name) = match (name.is_empty(), system_name.is_empty()) {
        (true, true) => return Ok(None),
        (true, false) => (system_name, system_name),
        (false, true) => (name, name),
        (false, false) => (name, system_name),
    };
    Ok(Some(Function { name: Arc::clone(name), system_name: Arc::clone(system_name), file: Arc::clone(file), line }))
}
