//! Everything that can be set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Profiler;
use crate::collect::Unwinder;
use crate::error::{Error, Result};
use crate::policy::{Symbolize, Threshold};
use crate::profile::ByteSize;
use crate::profiler::{Config, Listen, ProfilesDir, apply_environment};

/// Sets the profiler up; [`Builder::start`] checks all of it and starts.
///
/// A `HEAPWARD_*` variable that is set wins over what is set here.
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    config: Config,
    /// The first setter whose value cannot be used; told at start.
    refused: Option<Error>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { config: Config::default(), refused: None }
    }

    /// RSS above which snapshots are taken: bytes, or a share of the memory limit.
    /// Default [`DEFAULT_RSS_THRESHOLD`](crate::DEFAULT_RSS_THRESHOLD); variable `HEAPWARD_RSS_THRESHOLD`.
    pub fn rss_threshold(mut self, threshold: impl Into<Threshold>) -> Self {
        self.config.rss_threshold = threshold.into();
        self
    }

    /// Least time between two triggered snapshots.
    /// Default [`DEFAULT_MIN_INTERVAL`](crate::DEFAULT_MIN_INTERVAL); variable `HEAPWARD_MIN_INTERVAL`.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.config.min_interval = interval;
        self
    }

    /// Time between two readings.
    /// Default [`DEFAULT_POLL_INTERVAL`](crate::DEFAULT_POLL_INTERVAL); variable `HEAPWARD_POLL_INTERVAL`.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.config.poll_interval = interval;
        self
    }

    /// How many snapshots the ring keeps, beside the baseline and the peak.
    /// Default [`DEFAULT_HISTORY`](crate::DEFAULT_HISTORY); variable `HEAPWARD_HISTORY`.
    pub fn history(mut self, snapshots: usize) -> Self {
        self.config.retention.count = snapshots;
        self
    }

    /// How much memory the ring's snapshots may take; the newest is kept whatever its size.
    /// Default [`DEFAULT_HISTORY_BYTES`](crate::DEFAULT_HISTORY_BYTES); variable `HEAPWARD_HISTORY_BYTES`.
    pub fn history_bytes(mut self, bytes: ByteSize) -> Self {
        self.config.retention.bytes = usize::try_from(bytes.as_u64()).unwrap_or(usize::MAX);
        self
    }

    /// Where the server listens: `IP:PORT`, `localhost:PORT`, `unix:/path` or `off`.
    /// Default [`DEFAULT_LISTEN`](crate::DEFAULT_LISTEN); variable `HEAPWARD_LISTEN`.
    pub fn listen(mut self, address: &str) -> Self {
        match address.parse::<Listen>() {
            Ok(listen) => self.config.listen = listen,
            Err(error) => {
                self.refused.get_or_insert(Error::config(format!("listen (HEAPWARD_LISTEN): {error}")));
            }
        }
        self
    }

    /// What a request must carry, as `Authorization: Bearer` or as the password of Basic. Needed to listen on
    /// anything but loopback. Default none; variable `HEAPWARD_TOKEN`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.config.token = Some(token.into());
        self
    }

    /// Folder for snapshots, or `off`. One that is named must be there or be possible to make, and be writable; it must not be
    /// a symbolic link. Default [`DEFAULT_PROFILES_DIR`](crate::DEFAULT_PROFILES_DIR), made with the first snapshot; variable
    /// `HEAPWARD_PROFILES_DIR`.
    pub fn profiles_dir(mut self, folder: impl AsRef<Path>) -> Self {
        let folder = folder.as_ref();
        let is_off = folder == Path::new("off");
        self.config.profiles_dir = if is_off { ProfilesDir::Off } else { ProfilesDir::Named(folder.to_owned()) };
        self
    }

    /// How many snapshots are kept on disk, beside the baseline and the peak of this run and the first, the highest and the last
    /// of the previous one. Default [`DEFAULT_PROFILES_COUNT`](crate::DEFAULT_PROFILES_COUNT); variable `HEAPWARD_PROFILES_COUNT`.
    pub fn profiles_count(mut self, snapshots: usize) -> Self {
        self.config.disk_retention.count = snapshots;
        self
    }

    /// How many bytes the snapshots on disk may take; the newest is kept whatever it takes.
    /// Default [`DEFAULT_PROFILES_BYTES`](crate::DEFAULT_PROFILES_BYTES); variable `HEAPWARD_PROFILES_BYTES`.
    pub fn profiles_bytes(mut self, bytes: ByteSize) -> Self {
        self.config.disk_retention.bytes = bytes.as_u64();
        self
    }

    /// How many distinct stacks are told apart; samples of any more count without their frames.
    /// Address space is reserved for them at start. Default [`DEFAULT_MAX_STACKS`](crate::DEFAULT_MAX_STACKS);
    /// variable `HEAPWARD_MAX_STACKS`.
    pub fn max_stacks(mut self, stacks: usize) -> Self {
        self.config.limits.stacks = stacks;
        self
    }

    /// How many sampled objects can be alive at once, about; any more are dropped and counted.
    /// Default [`DEFAULT_MAX_LIVE_SAMPLES`](crate::DEFAULT_MAX_LIVE_SAMPLES); variable `HEAPWARD_MAX_LIVE_SAMPLES`.
    pub fn max_live_samples(mut self, samples: usize) -> Self {
        self.config.limits.live_objects = samples;
        self
    }

    /// What walks the stacks of samples. One that does not work in this program is replaced by the next that does.
    /// Default [`Unwinder::Auto`]; variable `HEAPWARD_UNWINDER`: `auto`, `frame_pointers`, `eh_frame` or `jemalloc`.
    pub fn unwinder(mut self, unwinder: Unwinder) -> Self {
        self.config.unwinder = unwinder;
        self
    }

    /// When names are looked up for the addresses of a profile.
    /// Default [`Symbolize::Auto`]; variable `HEAPWARD_SYMBOLIZE`: `auto`, `never` or `always`.
    pub fn symbolize(mut self, symbolize: Symbolize) -> Self {
        self.config.symbolize = symbolize;
        self
    }

    /// Headroom to the memory limit below which [`Symbolize::Auto`] looks no names up.
    /// Default [`DEFAULT_SYMBOLIZE_HEADROOM`](crate::DEFAULT_SYMBOLIZE_HEADROOM); variable `HEAPWARD_SYMBOLIZE_HEADROOM`.
    pub fn symbolize_headroom(mut self, headroom: ByteSize) -> Self {
        self.config.symbolize_headroom = headroom;
        self
    }

    /// Folders that hold the debug information of stripped files, by build id (`.build-id/ab/cdef….debug`) or below the
    /// path of the file. Absolute paths; none is allowed. Default [`DEFAULT_DEBUG_DIRS`](crate::DEFAULT_DEBUG_DIRS);
    /// variable `HEAPWARD_DEBUG_DIRS`, with a colon between two.
    pub fn debug_dirs<P: Into<PathBuf>>(mut self, folders: impl IntoIterator<Item = P>) -> Self {
        self.config.debug_dirs = folders.into_iter().map(Into::into).collect();
        self
    }

    /// Starts the profiler.
    ///
    /// # Errors
    ///
    /// A setting that is not allowed, a jemalloc that cannot be profiled, an address that is taken, a folder that
    /// cannot be written to, a profiler that runs already. The message names the setting and the fix, nothing of
    /// heapward is left running, and the service goes on.
    pub fn start(self) -> Result<Profiler> {
        self.start_with(&|variable| std::env::var_os(variable).map(|text| text.to_string_lossy().into_owned()))
    }

    pub(super) fn start_with(mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Profiler> {
        apply_environment(&mut self.config, lookup)?;
        if !self.config.enabled {
            // Whoever switches it off need not put right what else is set.
            return Ok(Profiler::disabled());
        }
        // A variable wins over the code, also over what is wrong there.
        if let Some(error) = self.refused.filter(|_| lookup("HEAPWARD_LISTEN").is_none()) {
            return Err(error);
        }
        Profiler::launch(self.config.validated()?)
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the token.
        f.debug_struct("Builder").field("listen", &self.config.listen).finish_non_exhaustive()
    }
}
