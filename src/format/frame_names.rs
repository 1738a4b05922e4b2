//! The names of frames, each once, in a form that folded stacks and XML can carry.

use std::borrow::Cow;
use std::collections::HashMap;

/// Names with a number each. The numbers are in the order of the names once [`FrameNames::sorted`] has been called.
#[derive(Debug, Default)]
pub(super) struct FrameNames<'p> {
    ids: HashMap<Cow<'p, str>, u32>,
}

impl<'p> FrameNames<'p> {
    /// The number of `name`, in the order of first sight.
    pub(super) fn id(&mut self, name: Cow<'p, str>) -> u32 {
        let next = self.ids.len() as u32;
        *self.ids.entry(clean(name)).or_insert(next)
    }

    /// All names in their order, and for each number as given so far the place in that order.
    pub(super) fn sorted(self) -> (Vec<Cow<'p, str>>, Vec<u32>) {
        let mut names: Vec<(Cow<'p, str>, u32)> = self.ids.into_iter().collect();
        names.sort_unstable();
        let mut places = vec![0; names.len()];
        for (place, (_, id)) in names.iter().enumerate() {
            if let Some(slot) = places.get_mut(*id as usize) {
                *slot = place as u32;
            }
        }
        (names.into_iter().map(|(name, _)| name).collect(), places)
    }
}

/// A name that stays one frame in a line of folded stacks and one text in XML: `;` separates frames, a line break ends
/// a line, control characters and a few others are not allowed in XML, and a number after the last space would be
/// taken for a value.
pub(super) fn clean(name: Cow<'_, str>) -> Cow<'_, str> {
    let is_clean = |c: char| c != ';' && is_text(c);
    let is_bounded = !name.is_empty() && name.trim() == name && !name.starts_with("# ");
    if is_bounded && name.chars().all(is_clean) && number_at_end(&name).is_none() {
        return name;
    }
    let mut text = printable(&name).replace(';', ":").trim().to_owned();
    if let Some(space) = number_at_end(&text) {
        text.replace_range(space..=space, "_");
    }
    // Begins a remark where inferno reads it.
    if text.starts_with("# ") {
        text.replace_range(1..2, "_");
    }
    if text.is_empty() {
        text.push_str("[no name]");
    }
    Cow::Owned(text)
}

/// `text` with only characters that XML allows, on one line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_text(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Whether a character may stand in XML 1.0 and stays on its line.
///
/// Source: production `Char` of Extensible Markup Language 1.0, without tabs and line breaks; of the controls that it
/// allows but discourages, none.
fn is_text(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

/// Where the last space is, if all behind it is a number.
fn number_at_end(name: &str) -> Option<usize> {
    let space = name.rfind(' ')?;
    name[space + 1..].chars().all(|c| c.is_ascii_digit() || c == '.').then_some(space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expect: &str) {
        assert_eq!(clean(name.into()), expect);
    }

    #[test]
    fn what_has_a_meaning_in_a_line_is_replaced() {
        check("<alloc::vec::Vec<u8>>::push", "<alloc::vec::Vec<u8>>::push");
        check("new<[u8; 4096]>", "new<[u8: 4096]>");
        check("a\nb\r\nc\u{2028}d\u{85}e", "a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}d\u{fffd}e");
        check("\0\x1b[31m\u{ffff}", "\u{fffd}\u{fffd}[31m\u{fffd}");
        check("\u{a0} padded ", "padded");
        check("", "[no name]");
        check(" \t", "\u{fffd}");
        check("  ", "[no name]");
        check("# remark", "#_remark");
        check("#hash", "#hash");
    }

    #[test]
    fn a_number_at_the_end_is_no_value() {
        check("f 12 345", "f 12_345");
        check("f 1.5", "f_1.5");
        check("f 12x", "f 12x");
        check("12", "12");
    }

    #[test]
    fn numbers_follow_the_names() {
        let mut names = FrameNames::default();
        let ids = ["b", "a", "b", "a;c", "a:c"].map(|name| names.id(name.into()));
        assert_eq!(ids, [0, 1, 0, 2, 2]);
        let (sorted, places) = names.sorted();
        assert_eq!(sorted, ["a", "a:c", "b"]);
        assert_eq!(places, [2, 0, 1]);
    }
}
