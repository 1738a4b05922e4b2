//! Whether somebody still waits for an answer.

use std::sync::{Arc, Weak};
use std::time::Instant;

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
    /// When they have waited long enough.
    until: Option<Instant>,
}

impl Asker {
    /// Somebody who waits from now on.
    pub(crate) fn new() -> Self {
        Self { alive: Arc::new(()) }
    }

    /// For whoever works for them.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { asker: Arc::downgrade(&self.alive), until: None }
    }
}

impl Wanted {
    /// The same, for no longer than that.
    pub(crate) fn until(self, until: Instant) -> Self {
        Self { until: Some(until), ..self }
    }

    /// Whether somebody waits.
    ///
    /// # Errors
    ///
    /// When nobody does any more.
    pub(crate) fn check(&self) -> Result<()> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return Err(Error::new(ErrorKind::Busy, "this took longer than anybody waits for it"));
        }
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
        let now = Instant::now();
        let hour = std::time::Duration::from_secs(3600);
        assert!(wanted.clone().until(now + hour).check().is_ok());
        while Instant::now() == now {}
        assert!(wanted.clone().until(now).check().is_err());
        drop(asker);
        assert_eq!(wanted.check().unwrap_err().to_string(), "nobody waits for this any more");
    }
}
