//! Reads what pprof calls a legacy heap profile: Go's and our own `debug=1`, gperftools' and older jemallocs' files.
//!
//! The source is `parseHeap` in google/pprof's `profile/legacy_profile.go` and `writeHeapInternal` in Go's
//! `runtime/pprof/pprof.go`:
//!
//! ```text
//! heap profile: <n>: <bytes> [<n>: <bytes>] @ <kind>/<rate>    in use [ever allocated], and how it was sampled
//! <n>: <bytes> [<n>: <bytes>] @ 0x<address> ...                a line per stack, leaf first
//! # ...                                                        remarks; with a tab, names of the stack before
//!
//! MAPPED_LIBRARIES:
//! <the text of /proc/self/maps>
//! ```
//!
//! Remarks are kept, so that a heap that says it is partial stays so; not those of Go's `# runtime.MemStats`, which are
//! about something else. `heap_v2` and `heapz_v2` give R itself; `heap` gives 2R, as the first heap profilers did. `heapprofile`, `growth` and
//! `fragmentation` are not scaled. Values may be negative, as those of a difference.

use super::lines::{Line, Lines};
use crate::error::Result;
use crate::format::read::Budget;
use crate::profile::ReturnAddress;

const HEADER: &str = "the header `heap profile: <n>: <bytes> [<n>: <bytes>] @ <kind>/<rate>`";
const KIND: &str =
    "heap_v2/<R>, heapz_v2/<R>, heap/<2R>, heapprofile, growth, growthz, fragmentation or fragmentationz";
const BODY: &str =
    "a stack `<n>: <bytes> [<n>: <bytes>] @ 0x<address> ...`, a line that begins with `#` or `MAPPED_LIBRARIES:`";
const MAPPING: &str = "a line of mapped libraries";

/// A stack with its counts, as they stand.
pub(super) struct TextStack {
    /// Leaf first.
    pub addresses: Box<[ReturnAddress]>,
    /// Objects and bytes in use, then ever allocated.
    pub counts: [i64; 4],
}

/// Text whose stacks are read one by one.
pub(super) struct TextReader<'a> {
    lines: Lines<'a>,
    /// R; 1 when every allocation was counted, 0 when the text does not say.
    pub sample_interval: u64,
    /// Known when all stacks are read.
    pub mapped_libraries: &'a [u8],
    /// Remarks so far.
    pub comments: Vec<String>,
    keeps_comments: bool,
}

/// Bytes that are kept of one remark.
const MAX_COMMENT: usize = 1000;

impl<'a> TextReader<'a> {
    pub(super) fn open(text: &'a [u8]) -> Result<Self> {
        let mut lines = Lines::new("heap profile text", text);
        let sample_interval = lines.require(HEADER)?.text_header()?;
        Ok(Self { lines, sample_interval, mapped_libraries: &[], comments: Vec::new(), keeps_comments: true })
    }

    pub(super) fn next(&mut self, budget: &mut Budget) -> Result<Option<TextStack>> {
        while let Some(mut line) = self.lines.next(BODY)? {
            line.rest = line.rest.trim_ascii();
            match line.rest {
                b"# runtime.MemStats" => self.keeps_comments = false,
                [b'#', b' ', remark @ ..] if self.keeps_comments => {
                    let remark = String::from_utf8_lossy(&remark[..remark.len().min(MAX_COMMENT)]);
                    budget.take(remark.len())?;
                    budget.push(&mut self.comments, remark.into_owned())?;
                }
                b"" | [b'#', ..] => {}
                b"MAPPED_LIBRARIES:" | b"--- Memory map: ---" => {
                    self.mapped_libraries = self.lines.remainder(MAPPING)?;
                }
                [b'0'..=b'9' | b'-', ..] => {
                    let counts = line.values()?;
                    line.literal("@", "`@`")?;
                    return Ok(Some(TextStack { counts, addresses: line.addresses()? }));
                }
                _ => return Err(line.unexpected(BODY)),
            }
        }
        Ok(None)
    }
}

impl Line<'_> {
    fn text_header(mut self) -> Result<u64> {
        self.rest = self.rest.trim_ascii();
        self.literal("heap profile:", HEADER)?;
        self.values()?;
        self.literal("@", "`@`")?;
        self.blanks();
        let kind = self.rest.split(|&byte| byte == b'/').next().unwrap_or_default();
        let unscaled = match kind {
            b"heapprofile" | b"growth" | b"growthz" | b"fragmentation" | b"fragmentationz" => true,
            b"heap_v2" | b"heapz_v2" | b"heap" => false,
            _ => return Err(self.unexpected(KIND)),
        };
        self.rest = &self.rest[kind.len()..];
        let rate = if self.rest.is_empty() {
            0
        } else {
            self.literal("/", "`/`")?;
            self.decimal()?
        };
        self.end()?;
        Ok(match kind {
            _ if unscaled => 1,
            b"heap" => rate / 2,
            _ => rate,
        })
    }

    /// `<n>: <bytes> [<n>: <bytes>] `, with as many blanks as anybody writes.
    fn values(&mut self) -> Result<[i64; 4]> {
        let mut values = [0; 4];
        let after = [(":", "`:`"), ("[", "`[`"), (":", "`:`"), ("]", "`]`")];
        for (value, (mark, expected)) in values.iter_mut().zip(after) {
            self.blanks();
            *value = self.signed()?;
            self.blanks();
            self.literal(mark, expected)?;
        }
        self.blanks();
        Ok(values)
    }
}
