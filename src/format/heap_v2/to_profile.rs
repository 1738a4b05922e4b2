//! From the text of a heap to a profile: counts scaled once, addresses found in the memory map.

use std::collections::HashMap;
use std::time::SystemTime;

use super::text::TextReader;
use super::{DumpReader, maps};
use crate::error::Result;
use crate::format::read::Budget;
use crate::profile::{
    Address, Frame, Location, Mapping, Profile, ProfileSample, ReturnAddress, SampleInterval, Unknown,
};

const DUMP: &[u8] = b"heap_v2/";
const TEXT: &[u8] = b"heap profile:";

/// Whether a file that begins so is text of a heap.
pub(in crate::format) fn is_text(start: &[u8]) -> bool {
    start.starts_with(DUMP) || start.starts_with(TEXT)
}

/// Reads jemalloc's dump, or the text of pprof's `debug=1`. Neither tells its time, nor names.
///
/// # Errors
///
/// [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed), with the line. A text that was cut between two lines
/// cannot be told from a whole one.
pub(in crate::format) fn read(text: &[u8], budget: &mut Budget) -> Result<Profile> {
    if text.starts_with(DUMP) {
        let mut dump = DumpReader::open(text)?;
        let mut builder = Builder::new(dump.sample_interval);
        while let Some(stack) = dump.next()? {
            let counts = [stack.inuse_objects, stack.inuse_bytes, stack.alloc_objects, stack.alloc_bytes];
            builder.add(&stack.addresses, counts.map(|count| (count, false)), budget)?;
        }
        builder.finish(dump.mapped_libraries, budget)
    } else {
        let mut reader = TextReader::open(text)?;
        let mut builder = Builder::new(reader.sample_interval);
        while let Some(stack) = reader.next(budget)? {
            let counts = stack.counts.map(|count| (count.unsigned_abs(), count < 0));
            builder.add(&stack.addresses, counts, budget)?;
        }
        builder.profile.comments = reader.comments;
        builder.finish(reader.mapped_libraries, budget)
    }
}

/// What one more address takes in the table of those that are known.
const KNOWN_BYTES: usize = 40;

struct Builder {
    profile: Profile,
    /// `None` when the text does not say how it was sampled.
    interval: Option<SampleInterval>,
    known: HashMap<Address, u32>,
}

/// A count without its sign, and whether it is negative.
type Signed = (u64, bool);

impl Builder {
    fn new(sample_interval: u64) -> Self {
        Self {
            profile: Profile::new(SystemTime::UNIX_EPOCH, sample_interval),
            interval: SampleInterval::from_bytes(sample_interval),
            known: HashMap::new(),
        }
    }

    /// Adds a stack with objects and bytes in use, then ever allocated, as they were sampled.
    fn add(&mut self, addresses: &[ReturnAddress], counts: [Signed; 4], budget: &mut Budget) -> Result<()> {
        let mut stack = Vec::with_capacity(addresses.len());
        for address in addresses {
            stack.push(self.location(address.call_site(), budget)?);
        }
        let [inuse_objects, inuse_bytes, alloc_objects, alloc_bytes] = counts;
        let [objects, bytes] = self.scaled(inuse_objects, inuse_bytes);
        let [all_objects, all_bytes] = self.scaled(alloc_objects, alloc_bytes);
        let average = |objects: Signed, bytes: Signed| bytes.0.checked_div(objects.0);
        let average = average(inuse_objects, inuse_bytes).or(average(alloc_objects, alloc_bytes)).unwrap_or(0);
        // Both lists grow by doubling.
        budget.take_many::<ProfileSample>(2)?;
        budget.take_many::<u32>(2 * stack.len())?;
        let average = i64::try_from(average).unwrap_or(i64::MAX);
        self.profile.push(stack, [all_objects, all_bytes, objects, bytes], average);
        Ok(())
    }

    fn location(&mut self, address: Address, budget: &mut Budget) -> Result<u32> {
        if let Some(&index) = self.known.get(&address) {
            return Ok(index);
        }
        let index = self.profile.locations.len() as u32;
        budget.take(KNOWN_BYTES)?;
        budget.push(
            &mut self.profile.locations,
            Location { address, mapping: None, frame: Frame::Unknown(Unknown::NotAsked) },
        )?;
        self.known.insert(address, index);
        Ok(index)
    }

    /// What the samples of one stack stand for.
    fn scaled(&self, objects: Signed, bytes: Signed) -> [i64; 2] {
        // Nothing to tell an average from, which google/pprof takes as nothing too.
        if bytes.0 == 0 {
            return [0, 0];
        }
        let (estimated_objects, estimated_bytes) = match self.interval {
            Some(interval) => {
                let sums = interval.weigh_average(objects.0, bytes.0);
                (sums.estimated_objects, sums.estimated_bytes)
            }
            None => (objects.0 as f64, bytes.0 as f64),
        };
        let value = |value: f64, is_negative: bool| (if is_negative { -value } else { value }).round() as i64;
        [value(estimated_objects, objects.1), value(estimated_bytes, bytes.1)]
    }

    fn finish(mut self, mapped_libraries: &[u8], budget: &mut Budget) -> Result<Profile> {
        let (mappings, others) = maps::read(mapped_libraries, budget)?;
        for location in &mut self.profile.locations {
            location.mapping = Mapping::find(&mappings, location.address).map(|index| index as u32);
        }
        self.profile.mappings = mappings;
        let comments = &mut self.profile.comments;
        if self.interval.is_none() {
            comments.push("as sampled: the text does not say how it was sampled, so nothing is scaled".to_owned());
        }
        if !self.profile.samples.is_empty() && self.profile.samples.iter().all(|sample| sample.values[..2] == [0; 2]) {
            comments.push("alloc_* are zero: the text tells only what is in use".to_owned());
        }
        if others > 0 {
            comments.push(format!("not read: {others} lines under MAPPED_LIBRARIES that are none of a memory map"));
        }
        Ok(self.profile)
    }
}
