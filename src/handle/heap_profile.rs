//! A heap profile that is held in memory: of a snapshot, or read from a file, of ours or of anybody's.

use std::io::Write;
use std::time::SystemTime;

use super::TopSite;
use crate::analysis::Top;
use crate::error::{Error, Result};
use crate::format::flamegraph::{self, Options};
use crate::format::{folded, pprof, read};
use crate::profile::{INUSE_SPACE, Profile, SAMPLE_TYPES, Trim};

/// A heap profile: where memory was allocated and where it is still held.
///
/// ```
/// use heapward::HeapProfile;
///
/// # fn main() -> Result<(), heapward::Error> {
/// let dump = b"heap_v2/1
///   t*: 2: 96 [0: 0]
/// @ 0x560295ef7be1 0x560295e1f448
///   t*: 2: 96 [0: 0]
/// ";
/// let profile = HeapProfile::read(dump)?;
/// assert_eq!(profile.totals().inuse_bytes, 96);
///
/// // What `go tool pprof` opens.
/// let pprof: Vec<u8> = profile.heap_prof()?;
/// assert_eq!(HeapProfile::read(&pprof)?.totals(), profile.totals());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HeapProfile {
    profile: Profile,
}

/// The sums over a whole profile, estimated. Negative where a difference of two profiles shrank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapTotals {
    /// Objects ever allocated.
    pub alloc_objects: i64,
    /// Bytes ever allocated.
    pub alloc_bytes: i64,
    /// Objects alive.
    pub inuse_objects: i64,
    /// Bytes alive.
    pub inuse_bytes: i64,
}

impl HeapProfile {
    /// Reads a file, told by its first bytes and gzipped or not:
    ///
    /// - profile.proto with any of the sample types `alloc_objects/count`, `alloc_space/bytes`, `inuse_objects/count`,
    ///   `inuse_space/bytes`, or with `objects/count` and `space/bytes`, which are in use;
    /// - what jemalloc's `prof.dump` writes (`heap_v2/…`);
    /// - what `/debug/pprof/heap?debug=1` serves, here and in Go (`heap profile: …`).
    ///
    /// Text is scaled up from its samples, once, by the average size of each stack, as jeprof and pprof do. What a
    /// profile cannot hold, such as labels, is told in [`HeapProfile::comments`].
    ///
    /// The file may come from anywhere: it can make this take no more memory than 192 MiB and 24 times its size, and never
    /// more than 768 MiB, whatever it claims or is compressed to. A text that was cut between two lines cannot be told
    /// from a whole one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed), with the byte or line and what is wrong there.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Ok(Self { profile: read::read(bytes)? })
    }

    /// The profile as gzipped profile.proto, for `go tool pprof`. Viewers are asked to hide the frames of the allocator
    /// and of the language's collections, whatever the file asked for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when it cannot be compressed.
    pub fn heap_prof(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        pprof::write(&self.profile, &mut bytes).map_err(|error| Error::io("writing a profile", error))?;
        Ok(bytes)
    }

    /// When it was taken; `None` when the file does not say, as text never does.
    pub fn time(&self) -> Option<SystemTime> {
        (self.profile.time != SystemTime::UNIX_EPOCH).then_some(self.profile.time)
    }

    /// The mean number of bytes between two samples; `None` when the file does not say.
    pub fn sample_interval(&self) -> Option<u64> {
        (self.profile.sample_interval > 0).then_some(self.profile.sample_interval)
    }

    /// The sums over all samples.
    pub fn totals(&self) -> HeapTotals {
        let [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes] = self.profile.totals();
        HeapTotals { alloc_objects, alloc_bytes, inuse_objects, inuse_bytes }
    }

    /// Remarks: those of the file, and what of it could not be read.
    pub fn comments(&self) -> &[String] {
        &self.profile.comments
    }

    /// The `count` sites with the most bytes in use; with the most of what the file shows first, if that is another value.
    pub fn top(&self, count: usize) -> Vec<TopSite> {
        let top = Top::of(&self.profile, None, self.shown_first(), count, Trim::Std);
        top.rows.into_iter().map(TopSite::about).collect()
    }

    /// A flame graph of the bytes in use, as SVG; of what the file shows first, if that is another value. Frames below
    /// 0.05% of all are not drawn, and the picture says how many.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is nothing to draw.
    pub fn flamegraph(&self) -> Result<Vec<u8>> {
        flamegraph::svg(&self.profile, &Options { by: self.shown_first(), ..Options::default() })
    }

    /// What changed since `base`, as SVG: red grew, blue shrank.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when nothing changed.
    pub fn flamegraph_since(&self, base: &Self) -> Result<Vec<u8>> {
        flamegraph::differential(
            &base.profile,
            &self.profile,
            &Options { by: self.shown_first(), ..Options::default() },
        )
    }

    /// Writes `root;…;leaf value`, a line for each stack with a value above zero, for other tools to draw.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such stack, and
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when `out` fails.
    pub fn write_folded(&self, out: impl Write) -> Result<()> {
        let min_percent = folded::DEFAULT_MIN_PERCENT;
        folded::write(&self.profile, &Options { by: self.shown_first(), min_percent, ..Options::default() }, out)
    }

    /// The index of the value that a viewer shows first.
    fn shown_first(&self) -> usize {
        let shown = self.profile.default_sample_type;
        SAMPLE_TYPES.iter().position(|known| known.name == shown).unwrap_or(INUSE_SPACE)
    }

    pub(super) fn of(profile: Profile) -> Self {
        Self { profile }
    }
}

impl std::fmt::Debug for HeapProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeapProfile")
            .field("time", &self.time())
            .field("samples", &self.profile.samples.len())
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}
