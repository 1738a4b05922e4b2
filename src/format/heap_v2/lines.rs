//! Text, line by line, with errors that tell the line.

use crate::error::{Error, Result};
use crate::format::read::MAX_DEPTH;
use crate::profile::ReturnAddress;

/// The lines that are still to be read.
pub(super) struct Lines<'a> {
    /// What the text is called in messages.
    format: &'static str,
    rest: &'a [u8],
    /// Of the line read last, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(format: &'static str, text: &'a [u8]) -> Self {
        Self { format, rest: text, number: 0 }
    }

    /// The next line, or `None` at the end of the dump. A last line without its line break was cut: even where it reads
    /// well, its last number may have lost digits.
    pub(super) fn next(&mut self, expected: &str) -> Result<Option<Line<'a>>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            let found = format!("{}, cut off by the end of the dump", quoted(self.rest));
            return Err(unexpected(self.format, self.number, &found, expected));
        };
        let line = Line { format: self.format, number: self.number, rest: &self.rest[..end] };
        self.rest = &self.rest[end + 1..];
        Ok(Some(line))
    }

    pub(super) fn require(&mut self, expected: &str) -> Result<Line<'a>> {
        match self.next(expected)? {
            Some(line) => Ok(line),
            None => Err(unexpected(self.format, self.number + 1, "the end of the dump", expected)),
        }
    }

    /// Everything up to the end, which must be whole lines too.
    pub(super) fn remainder(&mut self, expected: &str) -> Result<&'a [u8]> {
        let text = self.rest;
        while self.next(expected)?.is_some() {}
        Ok(text)
    }
}

/// One line, read from its front.
pub(super) struct Line<'a> {
    format: &'static str,
    number: usize,
    pub rest: &'a [u8],
}

impl Line<'_> {
    /// Blanks and addresses up to the end of the line, leaf first.
    pub(super) fn addresses(mut self) -> Result<Box<[ReturnAddress]>> {
        let mut addresses = Vec::new();
        while !self.rest.is_empty() {
            self.literal(" ", "a blank and an address, or the end of the line")?;
            let length = self.rest.iter().take_while(|&&byte| byte != b' ').count();
            let (token, rest) = self.rest.split_at(length);
            let Some(address) = token.strip_prefix(b"0x").and_then(|digits| number(digits, 16)) else {
                return Err(self.unexpected("an address: `0x` and hex digits, below 2^64"));
            };
            if addresses.len() == MAX_DEPTH {
                return Err(self.unexpected(&format!("at most {MAX_DEPTH} addresses")));
            }
            addresses.push(ReturnAddress(address));
            self.rest = rest;
        }
        Ok(addresses.into())
    }

    /// A number that may be negative.
    pub(super) fn signed(&mut self) -> Result<i64> {
        let digits = self.rest.strip_prefix(b"-").unwrap_or(self.rest).iter().take_while(|byte| byte.is_ascii_digit());
        let length = self.rest.len().min(usize::from(self.rest.starts_with(b"-")) + digits.count());
        let (digits, rest) = self.rest.split_at(length);
        let Some(value) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) else {
            return Err(self.unexpected("a decimal number from -2^63 to below 2^63"));
        };
        self.rest = rest;
        Ok(value)
    }

    /// Skips blanks.
    pub(super) fn blanks(&mut self) {
        while let Some(rest) = self.rest.strip_prefix(b" ") {
            self.rest = rest;
        }
    }

    pub(super) fn decimal(&mut self) -> Result<u64> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        let Some(value) = number(digits, 10) else {
            return Err(self.unexpected("a decimal number below 2^64"));
        };
        self.rest = rest;
        Ok(value)
    }

    pub(super) fn literal(&mut self, literal: &str, expected: &str) -> Result<()> {
        match self.rest.strip_prefix(literal.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.unexpected(expected)),
        }
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected("the end of the line")) }
    }

    /// Shows the line from where it stopped making sense.
    pub(super) fn unexpected(&self, expected: &str) -> Error {
        let found = if self.rest.is_empty() { "the end of the line".to_owned() } else { quoted(self.rest) };
        unexpected(self.format, self.number, &found, expected)
    }
}

fn unexpected(format: &str, line: usize, found: &str, expected: &str) -> Error {
    Error::malformed(format!("{format}, line {line}: found {found}, expected {expected}"))
}

/// The number that is all of `digits`; `None` when it is none or too big.
pub(super) fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` takes a sign, the format has none.
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// The most that a message shows of a dump, in bytes after escaping and without the quotes.
const SHOWN_BYTES: usize = 60;

/// Text from a dump as it may stand in a message: escaped, shortened and between quotes.
pub(in crate::format) fn quoted(found: &[u8]) -> String {
    const MORE: &str = "...";

    // An escape is never shorter than its byte, so bytes past the limit cannot be shown anyway.
    let mut shown = found[..found.len().min(SHOWN_BYTES + 1)].escape_ascii().to_string();
    if shown.len() > SHOWN_BYTES {
        shown.clear();
        for &byte in found {
            let escaped = std::ascii::escape_default(byte);
            if shown.len() + escaped.len() > SHOWN_BYTES - MORE.len() {
                break;
            }
            shown.extend(escaped.map(char::from));
        }
        shown.push_str(MORE);
    }
    format!("\"{shown}\"")
}
