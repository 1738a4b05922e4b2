//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;

/// What kind of thing went wrong; the match arm to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting has a value that is not allowed. The message names the setting, the value and what is allowed.
    Config,
    /// The allocator cannot be profiled as it is set up. The message names the fix.
    Allocator,
    /// heapward cannot run on this target.
    Unsupported,
    /// A profiler runs in this process already.
    AlreadyRunning,
    /// The profiler is switched off, has been shut down, or this is a forked child of its process.
    NotRunning,
    /// Asked too soon again; [`Error::retry_after`] says how long to wait.
    RateLimited,
    /// There is no snapshot of that id.
    NotFound,
    /// The operating system refused something.
    Io,
    /// Input that is not what its format says.
    Malformed,
    /// A file of a newer version of its format: a newer heapward wrote it, and can read it.
    NewerFormat,
    /// The profiler's own threads have too much to do already.
    Busy,
}

/// What went wrong, in words that name the fix.
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<std::time::Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// `Result` with heapward's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, source: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, message).with_source(source)
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    pub(crate) fn rate_limited(message: impl Into<String>, wait: std::time::Duration) -> Self {
        let mut error = Self::new(ErrorKind::RateLimited, message);
        error.retry_after = Some(wait);
        error
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How long to wait before asking again, for [`ErrorKind::RateLimited`].
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

// `main` returning this error prints its Debug form: make that the sentence too.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heapward: {:?}: {self}", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // Display prints the source itself already, so the chain goes on below it.
        self.source.as_ref().and_then(|source| source.source())
    }
}
