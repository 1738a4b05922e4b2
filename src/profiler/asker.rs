//! Whether somebody still waits for an answer.

use std::sync::{Arc, Weak};

use crate::error::{Error, ErrorKind, Result};

/// Held by whoever waits: work that takes long looks whether it is still there.
#[derive(Debug)]
pub(crate) struct Asker {
    alive: Arc<()>,
}

/// What an [`Asker`] waits for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    asker: Weak<()>,
}

impl Asker {
    /// Somebody who waits from now on.
    pub(crate) fn new() -> Self {
        Self { alive: Arc::new(()) }
    }

    /// For whoever works for them.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { asker: Arc::downgrade(&self.alive) }
    }
}

impl Wanted {
    /// Whether somebody waits.
    ///
    /// # Errors
    ///
    /// When nobody does any more.
    pub(crate) fn check(&self) -> Result<()> {
        match self.asker.strong_count() {
            0 => Err(Error::new(ErrorKind::Busy, "nobody waits for this any more")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_waits_for_is_wanted_until_they_leave() {
        let asker = Asker::new();
        let wanted = asker.wanted();
        assert!(wanted.check().is_ok() && wanted.clone().check().is_ok());
        drop(asker);
        assert_eq!(wanted.check().unwrap_err().to_string(), "nobody waits for this any more");
    }
}
