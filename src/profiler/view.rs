//! What a request wants to see of the heap: a moment, or the difference of two.

use std::convert::Infallible;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::moment::{Moment, Row, missed_between};
use super::places::{Places, Side};
use super::{Namer, Stacks};
use crate::format::heap_text::{self, TextRow};
use crate::format::pprof;
use crate::profile::{Profile, ReturnAddress, SAMPLE_TYPES, Sums, Trim};

/// A heap at a moment, or what changed between two.
pub(crate) struct View {
    base: Option<Moment>,
    later: Moment,
    stacks: Stacks,
    /// Between the two.
    duration: Duration,
}

/// What a profile says about itself beside its samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// The sample type that a viewer shows first.
    pub(crate) default_sample_type: &'static str,
    /// What a viewer hides.
    pub(crate) trim: Trim,
}

impl View {
    /// What was there at `moment`.
    pub(super) fn of(moment: Moment, stacks: Stacks) -> Self {
        Self { base: None, later: moment, stacks, duration: Duration::ZERO }
    }

    /// `later` − `base`: negative where there was more at `base`. The profiler was `started` then.
    pub(super) fn difference(base: Moment, later: Moment, stacks: Stacks, started: Instant) -> Self {
        let duration = later.apart(&base, started);
        Self { base: Some(base), later, stacks, duration }
    }

    /// Time between the two moments; of one alone, none.
    pub(super) fn duration(&self) -> Duration {
        self.duration
    }

    /// All of it in memory, with names.
    pub(crate) fn profile(&self, namer: &mut Namer<'_>) -> Profile {
        let mut profile = Profile::new(self.later.time(), self.stacks.interval().bytes());
        profile.duration = self.duration();
        let mut places = self.places();
        let stacks = self.later.rows().map(|row| self.stacks.frames(row.stack).len());
        let (count, frames) = stacks.fold((0, 0), |(count, frames), depth| (count + 1, frames + depth));
        profile.reserve(count, frames);
        let Ok(()) = self.samples::<Infallible>(&mut places, &mut |stack, values, average_size| {
            profile.push(stack.iter().copied(), values, average_size);
            Ok(())
        });
        self.name(&mut places, namer);
        profile.comments = self.comments(&places, namer);
        (profile.mappings, profile.locations) = (places.mappings, places.locations);
        profile
    }

    /// What was sampled of the live objects of each sample of [`View::profile`]; of a difference, of its later moment.
    pub(crate) fn live(&self) -> Vec<Sums> {
        self.later.rows().filter(|row| row.values() != [0; 4]).map(|row| row.live).collect()
    }

    /// As gzipped profile.proto, sample by sample: memory is that of the distinct places in the code.
    pub(crate) fn write_pprof(&self, namer: &mut Namer<'_>, shown: &Shown, out: impl Write) -> io::Result<()> {
        let mut places = self.places();
        let mut writer = pprof::Writer::new(out, &SAMPLE_TYPES)?;
        self.samples(&mut places, &mut |stack, values, average_size| writer.sample(stack, &values, average_size))?;
        self.name(&mut places, namer);
        let comments = self.comments(&places, namer);
        writer.finish(&pprof::Tail {
            time: self.later.time(),
            duration: self.duration(),
            period_type: pprof::SPACE,
            period: self.stacks.interval().bytes(),
            mappings: &places.mappings,
            locations: &places.locations,
            default_sample_type: shown.default_sample_type,
            drop_frames: shown.trim.drop_frames(),
            comments: &comments,
        })
    }

    /// As Go's text for people, values as sampled and not scaled. Of the later moment alone: the format has no
    /// differences.
    pub(crate) fn write_text(&self, namer: &mut Namer<'_>, out: impl Write) -> io::Result<()> {
        let mut rows: Vec<TextRow> = self
            .later
            .rows()
            .map(|row| TextRow {
                stack: row.stack,
                inuse: (row.live.objects, row.live.bytes),
                alloc: (row.totals.objects, row.totals.bytes),
            })
            .collect();
        let rest = heap_text::fold(&mut rows);
        let mut places = self.places();
        for row in &rows {
            for frame in self.stacks.frames(row.stack) {
                places.index(Side::Later, frame.call_site());
            }
        }
        self.name(&mut places, namer);
        let comments = self.comments(&places, namer);
        heap_text::write(
            out,
            &heap_text::HeapText {
                sample_interval: self.stacks.interval().bytes(),
                rows: &rows,
                rest,
                mappings: &places.mappings,
                comments: &comments,
            },
            |stack| {
                self.stacks
                    .frames(stack)
                    .map(|address| (address, places.get(Side::Later, address.call_site()).map(|place| &place.frame)))
            },
        )
    }

    fn name(&self, places: &mut Places<'_>, namer: &mut Namer<'_>) {
        let mut moments = self.base.iter().chain([&self.later]);
        namer.set_of_earlier(moments.any(|moment| moment.run().is_some()));
        places.name(namer);
    }

    /// The places of this view, none yet.
    fn places(&self) -> Places<'_> {
        let later = self.later.mappings();
        Places::new(later, self.base.as_ref().map_or(later, Moment::mappings))
    }

    /// Calls `sample` with the places of each stack, leaf first, its values and its objects' average size.
    fn samples<E>(
        &self,
        places: &mut Places<'_>,
        sample: &mut impl FnMut(&[u32], [i64; 4], i64) -> Result<(), E>,
    ) -> Result<(), E> {
        let frames = |row: &Row| self.stacks.frames(row.stack).map(ReturnAddress::call_site);
        let mut stack = Vec::new();
        let mut add = |places: &mut Places<'_>, side: Side, row: &Row, values: [i64; 4]| {
            if values == [0; 4] {
                return Ok(());
            }
            stack.clear();
            stack.extend(frames(row).map(|address| places.index(side, address)));
            sample(&stack, values, row.average_size())
        };
        let Some(base) = &self.base else {
            return self.later.rows().try_for_each(|row| add(places, Side::Later, &row, row.values()));
        };
        for pair in pairs(base.rows(), self.later.rows()) {
            match pair {
                (Some(before), Some(after)) if !frames(&after).any(|address| places.has_moved(address)) => {
                    let (before, values) = (before.values(), after.values());
                    add(places, Side::Later, &after, std::array::from_fn(|index| values[index] - before[index]))?;
                }
                // Of one moment alone, or the addresses belonged to other code then.
                (before, after) => {
                    if let Some(row) = before {
                        add(places, Side::Base, &row, row.values().map(|value| -value))?;
                    }
                    if let Some(row) = after {
                        add(places, Side::Later, &row, row.values())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether allocations are not known; two runs count from the start of each.
    fn is_of_dumps(&self) -> bool {
        let has_other_run = self.base.as_ref().is_some_and(|base| base.run() != self.later.run());
        !self.stacks.has_birthdays() && !has_other_run && self.later.totals_are_empty()
    }

    fn comments(&self, places: &Places<'_>, namer: &Namer<'_>) -> Vec<String> {
        let mut comments = vec![format!("heapward {}", env!("CARGO_PKG_VERSION"))];
        comments.extend(self.base.as_ref().and_then(|base| missed_between(base, &self.later)));
        comments.extend(self.later.remarks());
        if let Some(base) = &self.base {
            comments.push("a difference: what grew is positive, what shrank is negative".to_owned());
            for remark in base.remarks() {
                let remark = format!("of the base: {remark}");
                comments.push(remark);
            }
        }
        if self.is_of_dumps() {
            comments.push(
                "alloc_* are zero: this jemalloc has no hooks, and its dumps tell only what is in use".to_owned(),
            );
        }
        comments.extend(places.why_unnamed(namer));
        comments
    }
}

/// Joins two lists of rows, each sorted by stack.
fn pairs(
    base: impl Iterator<Item = Row>,
    later: impl Iterator<Item = Row>,
) -> impl Iterator<Item = (Option<Row>, Option<Row>)> {
    let (mut base, mut later) = (base.peekable(), later.peekable());
    std::iter::from_fn(move || {
        let stack = match (base.peek(), later.peek()) {
            (None, None) => return None,
            (Some(before), Some(after)) => before.stack.min(after.stack),
            (Some(row), None) | (None, Some(row)) => row.stack,
        };
        Some((base.next_if(|row| row.stack == stack), later.next_if(|row| row.stack == stack)))
    })
}
