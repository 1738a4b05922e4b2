//! Protocol buffers on the wire, as a stream: keys, varints and lengths. A message is walked field by field and never
//! held as a whole.
//!
//! Source: protobuf.dev, "Encoding".

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::format::read::{MAX_STREAM, MAX_STRING, Stream};

/// A reader that knows where it is, for messages.
pub(super) struct Wire<'a> {
    stream: Stream<'a>,
    /// The messages around the place, outermost first, with their number from 1.
    path: Vec<(&'static str, u64)>,
    /// The bytes of one string.
    scratch: Vec<u8>,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Its number in the message's definition.
    pub number: u64,
    /// Where its key stands.
    pub at: u64,
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Varint(u64),
    /// Four or eight bytes, which no field of profile.proto has.
    Fixed,
    /// Bytes that end before this position.
    Bytes(u64),
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: Stream<'a>) -> Self {
        Self { stream, path: Vec::new(), scratch: Vec::new() }
    }

    /// Hands each field of the outermost message to `each`; what it leaves of a field is skipped.
    pub(super) fn fields(&mut self, each: impl FnMut(&mut Self, Field) -> Result<()>) -> Result<()> {
        self.fields_until(None, each)
    }

    /// Hands each field of the message in `field`, the `number`th `name`, to `each`.
    pub(super) fn message(
        &mut self,
        field: Field,
        name: &'static str,
        number: u64,
        each: impl FnMut(&mut Self, Field) -> Result<()>,
    ) -> Result<()> {
        self.path.push((name, number));
        let end = self.end_of(field, "a message")?;
        self.fields_until(Some(end), each)?;
        self.path.pop();
        Ok(())
    }

    /// The value of an integer or bool field.
    pub(super) fn varint(&self, field: Field, name: &str) -> Result<u64> {
        match field.content {
            Content::Varint(value) => Ok(value),
            other => Err(self.wrong_type(field.at, name, other, "a varint")),
        }
    }

    /// An `int64`: two's complement.
    pub(super) fn int64(&self, field: Field, name: &str) -> Result<i64> {
        Ok(self.varint(field, name)?.cast_signed())
    }

    /// Hands the values of a repeated integer field to `each`: one, or as many as are packed.
    pub(super) fn repeated(
        &mut self,
        field: Field,
        name: &str,
        mut each: impl FnMut(&mut Self, u64) -> Result<()>,
    ) -> Result<()> {
        match field.content {
            Content::Varint(value) => each(self, value),
            Content::Fixed => Err(self.wrong_type(field.at, name, field.content, "a varint or packed varints")),
            Content::Bytes(end) => {
                while self.stream.position() < end {
                    let value = self.raw_varint(Some(end))?;
                    each(self, value)?;
                }
                Ok(())
            }
        }
    }

    /// The text of a string field, and whether it was valid UTF-8: what is not is replaced.
    pub(super) fn string(&mut self, field: Field, name: &str) -> Result<(String, bool)> {
        let end = self.end_of(field, name)?;
        let too_long = |wire: &Self, length: u64| {
            wire.malformed(field.at, &format!("{name} of {length} bytes, at most {MAX_STRING} are allowed"))
        };
        let length = end - self.stream.position();
        if length > MAX_STRING {
            return Err(too_long(self, length));
        }
        self.scratch.clear();
        let (stream, scratch) = (&mut self.stream, &mut self.scratch);
        if !stream.pieces(end, |piece| scratch.extend_from_slice(piece))? {
            return Err(self.cut(Some(end)));
        }
        let text = String::from_utf8_lossy(&self.scratch);
        // A byte that is replaced becomes three, and what is read must be one that can be written and read again.
        if text.len() as u64 > MAX_STRING {
            return Err(too_long(self, text.len() as u64));
        }
        let is_valid = matches!(text, std::borrow::Cow::Borrowed(_));
        Ok((text.into_owned(), is_valid))
    }

    /// An error at byte `at` of the message that is being read.
    pub(super) fn malformed(&self, at: u64, what: &str) -> Error {
        malformed(at, &self.path, what)
    }

    fn end_of(&self, field: Field, name: &str) -> Result<u64> {
        match field.content {
            Content::Bytes(end) => Ok(end),
            other => Err(self.wrong_type(field.at, name, other, "a length and bytes")),
        }
    }

    fn wrong_type(&self, at: u64, name: &str, found: Content, expected: &str) -> Error {
        let found = match found {
            Content::Varint(_) => "a varint",
            Content::Fixed => "a number of fixed size",
            Content::Bytes(_) => "a length and bytes",
        };
        self.malformed(at, &format!("{name} is {found} and should be {expected}"))
    }

    fn fields_until(&mut self, end: Option<u64>, mut each: impl FnMut(&mut Self, Field) -> Result<()>) -> Result<()> {
        while let Some(field) = self.field(end)? {
            each(self, field)?;
            if let Content::Bytes(end) = field.content {
                self.skip_to(end)?;
            }
        }
        Ok(())
    }

    /// The next field of a message that ends before `end`, or with the content.
    fn field(&mut self, end: Option<u64>) -> Result<Option<Field>> {
        let at = self.stream.position();
        let is_end = match end {
            Some(end) => at == end,
            None => self.stream.peek()?.is_empty(),
        };
        if is_end {
            return Ok(None);
        }
        let key = self.raw_varint(end)?;
        let number = key >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(self.malformed(at, &format!("field number {number}, allowed are 1 to 2^29 - 1")));
        }
        let content = match key & 7 {
            0 => Content::Varint(self.raw_varint(end)?),
            1 => self.fixed(8, end)?,
            5 => self.fixed(4, end)?,
            2 => {
                let length = self.raw_varint(end)?;
                let here = self.stream.position();
                // How long the outermost message is, is seen when it ends.
                let most = end.unwrap_or(MAX_STREAM);
                match here.checked_add(length) {
                    Some(last) if last <= most => Content::Bytes(last),
                    _ => {
                        let what = format!(
                            "field {number} has a length of {length} bytes, at most {} can follow",
                            most - here
                        );
                        return Err(self.malformed(at, &what));
                    }
                }
            }
            wire_type => {
                let what = format!("field {number} has wire type {wire_type}, allowed are 0, 1, 2 and 5");
                return Err(self.malformed(at, &what));
            }
        };
        Ok(Some(Field { number, at, content }))
    }

    fn fixed(&mut self, bytes: u64, end: Option<u64>) -> Result<Content> {
        let last = self.stream.position().saturating_add(bytes);
        if end.is_some_and(|end| last > end) {
            return Err(self.malformed(self.stream.position(), "the message ends within a field"));
        }
        self.skip_to(last)?;
        Ok(Content::Fixed)
    }

    fn skip_to(&mut self, end: u64) -> Result<()> {
        if self.stream.pieces(end, |_| ())? { Ok(()) } else { Err(self.cut(Some(end))) }
    }

    /// A base-128 number of at most 64 bits that ends before `end`.
    fn raw_varint(&mut self, end: Option<u64>) -> Result<u64> {
        let at = self.stream.position();
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if end == Some(self.stream.position()) {
                return Err(self.cut(end));
            }
            let Some(byte) = self.stream.byte()? else { return Err(self.cut(end)) };
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed(at, "a varint of more than 64 bits"))
    }

    /// The message or the content ended too early.
    fn cut(&self, end: Option<u64>) -> Error {
        let here = self.stream.position();
        match end {
            Some(end) if here < end => {
                self.malformed(here, &format!("the content ends here, and {} bytes are missing", end - here))
            }
            Some(_) => self.malformed(here, "the message ends within a field"),
            None => self.malformed(here, "the content ends within a field"),
        }
    }
}

/// An error at byte `at`, inside the messages of `path`.
pub(super) fn malformed(at: u64, path: &[(&str, u64)], what: &str) -> Error {
    let mut message = format!("profile.proto, byte {at}");
    for (name, number) in path {
        // Writing to a string cannot fail.
        let _ = write!(message, ", {name} {number}");
    }
    Error::malformed(format!("{message}: {what}"))
}
