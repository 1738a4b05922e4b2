//! Query parameters: what is not known or not allowed is refused, with what is.

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

    /// The index of one of `words`.
    pub(super) fn word(&mut self, name: &'static str, words: &[&str], default: usize) -> Result<usize> {
        let Some(text) = self.take(name)? else { return Ok(default) };
        words
            .iter()
            .position(|word| *word == text)
            .ok_or_else(|| Error::config(format!("parameter `{name}` is `{text}`: allowed is {}", words.join(", "))))
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
