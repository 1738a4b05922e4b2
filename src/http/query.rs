//! Query parameters: what is not known or not allowed is refused, with what is.

use std::str::FromStr;

use crate::error::{Error, Result};

/// The parameters of one request. Each must be taken; [`Query::finish`] refuses what is left.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let query = query.unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { pairs, known: Vec::new() }
    }

    /// The value of `name`. Two of one name are looked for here and not among all pairs, of which a hostile query has
    /// as many as fit into a URI.
    fn take(&mut self, name: &'static str) -> Result<Option<String>> {
        self.known.push(name);
        let mut values = self.pairs.extract_if(.., |(other, _)| other == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::config(format!("parameter `{name}` is given twice: allowed is once"))),
            (value, None) => Ok(value),
        }
    }

    /// A whole number in a range.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize> {
        Ok(self.optional_number(name, range)?.unwrap_or(default))
    }

    /// A whole number in a range, when it is given.
    pub(super) fn optional_number(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            Error::config(format!(
                "parameter `{name}` is `{text}`: allowed is a whole number from {} to {}",
                range.start(),
                range.end()
            ))
        })?;
        Ok(Some(number))
    }

    /// Any text but the empty one, when it is given.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.take(name)? {
            Some(text) if text.is_empty() => {
                Err(Error::config(format!("parameter `{name}` is empty: allowed is any text, or leave it out")))
            }
            text => Ok(text),
        }
    }

    /// A share in percent.
    pub(super) fn percent(&mut self, name: &'static str, default: f64) -> Result<f64> {
        let Some(text) = self.take(name)? else { return Ok(default) };
        let number = text.strip_suffix('%').unwrap_or(&text).parse().ok();
        number.filter(|number| (0.0..=100.0).contains(number)).ok_or_else(|| {
            Error::config(format!("parameter `{name}` is `{text}`: allowed is a number of percent from 0 to 100"))
        })
    }

    /// What says of itself how it is written, when it is given.
    pub(super) fn parsed<T: FromStr<Err = Error>>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Error::config(format!("parameter `{name}`: {error}")))
    }

    /// The index of one of `words`.
    pub(super) fn word(&mut self, name: &'static str, words: &[&str], default: usize) -> Result<usize> {
        let Some(text) = self.take(name)? else { return Ok(default) };
        words
            .iter()
            .position(|word| *word == text)
            .ok_or_else(|| Error::config(format!("parameter `{name}` is `{text}`: allowed is {}", words.join(", "))))
    }

    /// Takes what is not for us.
    pub(super) fn ignore(&mut self, names: &[&'static str]) {
        self.pairs.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// Refuses parameters that nobody took.
    pub(super) fn finish(self) -> Result<()> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let allowed = match self.known.as_slice() {
            [] => "none is allowed here".to_owned(),
            known => format!("allowed is {}", known.join(", ")),
        };
        Err(Error::config(format!("parameter `{name}` is unknown: {allowed}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Trim;

    #[test]
    fn percents_texts_and_words_of_their_own() {
        let percent = |query: &str| Query::parse(Some(query)).percent("min", 0.05).map_err(|error| error.to_string());
        assert_eq!([percent(""), percent("min=1.5"), percent("min=2%25")], [Ok(0.05), Ok(1.5), Ok(2.0)]);
        for wrong in ["-1", "101", "NaN", "inf", "x", "%25"] {
            let shown = wrong.replace("%25", "%");
            let expect = format!("parameter `min` is `{shown}`: allowed is a number of percent from 0 to 100");
            assert_eq!(percent(&format!("min={wrong}")), Err(expect));
        }
        let mut query = Query::parse(Some("site=a%3Bb&x="));
        assert_eq!(query.text("site").unwrap().as_deref(), Some("a;b"));
        assert_eq!(query.text("nothing").unwrap(), None);
        assert!(query.text("x").is_err());
        let trim = |query| Query::parse(Some(query)).parsed::<Trim>("trim");
        assert_eq!((trim("").unwrap(), trim("trim=none").unwrap()), (None, Some(Trim::None)));
        let refused = trim("trim=all").unwrap_err().to_string();
        assert!(refused.starts_with("parameter `trim`: ") && refused.contains("allocator"), "{refused}");
    }

    fn refused(query: &str) -> String {
        let read = || -> Result<(usize, usize)> {
            let mut query = Query::parse(Some(query));
            let read = (query.number("n", 1..=100, 20)?, query.word("by", &["a", "b"], 1)?);
            query.finish()?;
            Ok(read)
        };
        match read() {
            Ok(read) => format!("{read:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_and_refuses() {
        assert_eq!(refused(""), "(20, 1)");
        assert_eq!(refused("n=5&by=a"), "(5, 0)");
        assert_eq!(refused("n=0"), "parameter `n` is `0`: allowed is a whole number from 1 to 100");
        assert_eq!(refused("n=%20"), "parameter `n` is ` `: allowed is a whole number from 1 to 100");
        assert_eq!(refused("by=c"), "parameter `by` is `c`: allowed is a, b");
        assert_eq!(refused("x=1"), "parameter `x` is unknown: allowed is n, by");
        assert_eq!(refused("n=1&n=2"), "parameter `n` is given twice: allowed is once");
        assert_eq!(
            Query::parse(Some("x=1")).finish().unwrap_err().to_string(),
            "parameter `x` is unknown: none is allowed here"
        );
    }
}
