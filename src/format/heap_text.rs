//! The text that Go's `net/http/pprof` serves for `heap?debug=1`.
//!
//! Source: `writeHeapInternal` in Go's runtime/pprof/pprof.go; read by `parseHeap` in google/pprof's
//! profile/legacy_profile.go, which scales `heap_v2` by the sample interval that follows it.
//!
//! ```text
//! heap profile: <inuse objects>: <inuse bytes> [<alloc objects>: <alloc bytes>] @ heap_v2/<R>
//! <n>: <bytes> [<n>: <bytes>] @ 0x<return address> …        a line per stack, leaf first, most bytes in use first
//! # 0x<return address> <function> <file>:<line>           with tabs between; for people, programs skip it
//!
//! MAPPED_LIBRARIES:
//! <lines as in /proc/self/maps>
//! ```

use std::io::{self, Write};

use crate::profile::{Frame, Mapping, ReturnAddress};

/// How many stacks are written out: all in one answer, whatever the size of the heap.
const STACKS: usize = 4096;

/// After that many bytes, stacks are written without names, which are most of the text.
const NAMED_BYTES: usize = 8 << 20;

/// A stack's samples, as counted: objects and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextRow {
    /// The stack's number.
    pub stack: u32,
    /// Alive.
    pub inuse: (u64, u64),
    /// Ever allocated.
    pub alloc: (u64, u64),
}

/// What is written.
pub(crate) struct HeapText<'a> {
    /// R, in bytes.
    pub sample_interval: u64,
    /// The stacks that are written out.
    pub rows: &'a [TextRow],
    /// The sum of those that are not, with their number.
    pub rest: Option<(TextRow, usize)>,
    /// The files that the addresses are in.
    pub mappings: &'a [Mapping],
    /// Remarks for the reader.
    pub comments: &'a [String],
}

/// Sorts `rows`, most bytes in use first, and cuts them to what is written out; returns the sum and number of the rest.
pub(crate) fn fold(rows: &mut Vec<TextRow>) -> Option<(TextRow, usize)> {
    fold_to(rows, STACKS)
}

fn fold_to(rows: &mut Vec<TextRow>, keep: usize) -> Option<(TextRow, usize)> {
    rows.sort_unstable_by_key(|row| (std::cmp::Reverse((row.inuse.1, row.alloc.1)), row.stack));
    let rest = rows.get(keep..).filter(|rest| !rest.is_empty()).map(|rest| (sum(rest), rest.len()));
    rows.truncate(keep);
    rest
}

fn sum(rows: &[TextRow]) -> TextRow {
    rows.iter().fold(TextRow::default(), |sum, row| TextRow {
        stack: 0,
        inuse: (sum.inuse.0 + row.inuse.0, sum.inuse.1 + row.inuse.1),
        alloc: (sum.alloc.0 + row.alloc.0, sum.alloc.1 + row.alloc.1),
    })
}

/// Writes `heap`; `frames` gives a stack's addresses, leaf first, with their names.
pub(crate) fn write<'a, I>(out: impl Write, heap: &HeapText<'_>, frames: impl Fn(u32) -> I) -> io::Result<()>
where
    I: Iterator<Item = (ReturnAddress, Option<&'a Frame>)>,
{
    let mut out = Counted { out: io::BufWriter::new(out), bytes: 0 };
    let mut all = sum(heap.rows);
    if let Some((rest, _)) = heap.rest {
        all = sum(&[all, rest]);
    }
    writeln!(out, "heap profile: {} @ heap_v2/{}", Counts(&all), heap.sample_interval)?;
    for comment in heap.comments {
        writeln!(out, "# {}", comment.replace('\n', " "))?;
    }
    for row in heap.rows {
        write!(out, "{} @", Counts(row))?;
        for (address, _) in frames(row.stack) {
            write!(out, " {:#x}", address.0)?;
        }
        writeln!(out)?;
        if out.bytes > NAMED_BYTES {
            continue;
        }
        for (address, frame) in frames(row.stack) {
            for function in frame.map_or(&[][..], Frame::functions) {
                write!(out, "#\t{:#x}\t{}", address.0, OneLine(&function.name))?;
                match &*function.file {
                    "" => writeln!(out)?,
                    file => writeln!(out, "\t{}:{}", OneLine(file), function.line)?,
                }
            }
        }
    }
    if let Some((rest, stacks)) = heap.rest {
        writeln!(out, "# {stacks} more stacks, in one line and without their addresses:")?;
        writeln!(out, "{} @", Counts(&rest))?;
    }
    writeln!(out, "\nMAPPED_LIBRARIES:")?;
    for mapping in heap.mappings {
        let Mapping { start, limit, file_offset, path, .. } = mapping;
        // Device and inode are not known, and nobody asks for them.
        writeln!(out, "{start:x}-{limit:x} r-xp {file_offset:08x} 00:00 0 {}", OneLine(path))?;
    }
    out.flush()
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    bytes: usize,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct Counts<'a>(&'a TextRow);

impl std::fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TextRow { inuse, alloc, .. } = self.0;
        write!(f, "{}: {} [{}: {}]", inuse.0, inuse.1, alloc.0, alloc.1)
    }
}

/// A name that cannot begin a line of its own.
struct OneLine<'a>(&'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.split(['\n', '\r']).enumerate().try_for_each(|(index, part)| {
            f.write_str(if index == 0 { "" } else { " " })?;
            f.write_str(part)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Function;

    #[test]
    fn names_end_before_the_text_is_too_long() {
        let name: std::sync::Arc<str> = "x".repeat(NAMED_BYTES + 1).into();
        let function = Function { name: name.clone(), system_name: name, file: "".into(), line: 0 };
        let frame = Frame::Known([function].into());
        let rows = [row(1, 30), row(2, 20)];
        let heap = HeapText { sample_interval: 1, rows: &rows, rest: None, mappings: &[], comments: &[] };
        let mut text = Vec::new();
        write(&mut text, &heap, |stack| [(ReturnAddress(stack.into()), Some(&frame))].into_iter()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches("\n#\t").count(), 1, "of the first stack");
        assert!(text.contains("\n1: 20 [2: 40] @ 0x2\n"), "the second has its addresses");
    }

    fn row(stack: u32, inuse: u64) -> TextRow {
        TextRow { stack, inuse: (1, inuse), alloc: (2, 2 * inuse) }
    }

    #[test]
    fn the_largest_are_written_out_and_the_rest_still_counts() {
        let mut rows = vec![row(1, 10), row(2, 30), row(3, 20), row(4, 5)];
        let rest = fold_to(&mut rows, 2);
        assert_eq!(rows, [row(2, 30), row(3, 20)]);
        let frame = Frame::Known(
            ["inlined\nname", "outer"]
                .map(|name| Function {
                    name: name.into(),
                    system_name: name.into(),
                    file: if name == "outer" { "" } else { "src/lib.rs" }.into(),
                    line: 7,
                })
                .into(),
        );
        let mapping =
            Mapping { start: 0x1000, limit: 0x2000, file_offset: 0x40, path: "/opt/a".into(), build_id: None };
        let heap = HeapText {
            sample_interval: 512,
            rows: &rows,
            rest,
            mappings: &[mapping],
            comments: &["partial: \nsee".to_owned()],
        };
        let mut text = Vec::new();
        let frames = |stack: u32| {
            [(ReturnAddress(0x1000 + u64::from(stack)), (stack == 2).then_some(&frame)), (ReturnAddress(0x9), None)]
                .into_iter()
        };
        write(&mut text, &heap, frames).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "heap profile: 4: 65 [8: 130] @ heap_v2/512\n\
             # partial:  see\n\
             1: 30 [2: 60] @ 0x1002 0x9\n\
             #\t0x1002\tinlined name\tsrc/lib.rs:7\n\
             #\t0x1002\touter\n\
             1: 20 [2: 40] @ 0x1003 0x9\n\
             # 2 more stacks, in one line and without their addresses:\n\
             2: 15 [4: 30] @\n\
             \n\
             MAPPED_LIBRARIES:\n\
             1000-2000 r-xp 00000040 00:00 0 /opt/a\n"
        );
    }
}
