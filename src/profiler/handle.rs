//! The handle that a service holds.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::builder::Builder;
use super::config::{Config, ProfilesDir};
use super::environment::VARIABLES;
use super::gauges::Gauges;
use super::shared::{Heap, Shared, stopped};
use super::status::Status;
use super::watch::{Command, Watcher};
use super::{render, threads, watch};
use crate::analysis::{Site, Top, TopRow};
use crate::collect::{Collector, LiveObject, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::format::pprof;
use crate::http::{Bound, Routes};
use crate::policy::Reason;
use crate::profile::INUSE_SPACE;
use crate::snapshot::{History, Selector, Snapshot};
use crate::symbolize::SymbolCache;

/// One profiler a process: jemalloc has one set of hooks.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// How long a call waits for heapward's own threads.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the profiler with defaults and `HEAPWARD_*` variables.
///
/// # Errors
///
/// As [`Builder::start`].
pub fn start() -> Result<Profiler> {
    Profiler::builder().start()
}

/// A running profiler. Dropping it tells heapward's threads to end; [`Profiler::shutdown`] also waits for them.
#[must_use = "dropping the profiler stops it: hold it for as long as the service runs"]
pub struct Profiler {
    running: Option<Running>,
}

struct Running {
    shared: Arc<Shared>,
    server: Option<Bound>,
    threads: Vec<JoinHandle<()>>,
}

/// What is known of a snapshot without opening it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Its id, from 1 on.
    pub id: u64,
    /// When it was taken.
    pub time: SystemTime,
    /// Why.
    pub reason: Reason,
    /// RSS then, in bytes.
    pub rss: u64,
    /// Estimated bytes alive.
    pub live_bytes: f64,
    /// Estimated objects alive.
    pub live_objects: f64,
    /// Sampled objects that the estimates rest on.
    pub sampled_objects: u64,
    /// How long it took.
    pub duration: Duration,
    /// Why it does not show everything; `None` when it does.
    pub partial: Option<&'static str>,
}

/// A site with what it holds and allocated in all, estimated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopSite {
    /// Function, demangled; the address with its file where there is no name.
    pub function: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// Line; 0 when unknown.
    pub line: u32,
    /// Bytes alive.
    pub inuse_bytes: i64,
    /// Objects alive.
    pub inuse_objects: i64,
    /// Bytes ever allocated.
    pub alloc_bytes: i64,
    /// Objects ever allocated.
    pub alloc_objects: i64,
}

/// One sampled object, for heapward's own tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct LiveSample {
    pub address: u64,
    pub requested: u64,
    pub usable: u64,
    pub epoch: u32,
    pub birth_millis: u64,
    pub depth: usize,
}

impl TopSite {
    fn of(row: TopRow) -> Self {
        let [alloc_objects, alloc_bytes, inuse_objects, inuse_bytes] = row.values;
        let Site { function, file, line } = row.site;
        Self { function, file, line, inuse_bytes, inuse_objects, alloc_bytes, alloc_objects }
    }
}

impl SnapshotInfo {
    fn of(snapshot: &Snapshot) -> Self {
        let (live_objects, live_bytes) = snapshot.live();
        Self {
            id: snapshot.id,
            time: snapshot.time,
            reason: snapshot.reason,
            rss: snapshot.reading.process.rss,
            live_bytes,
            live_objects,
            sampled_objects: snapshot.live_objects,
            duration: snapshot.duration,
            partial: snapshot.partial,
        }
    }
}

impl Profiler {
    /// Everything that can be set, at its default.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn launch(config: Config) -> Result<Self> {
        if !config.enabled {
            tracing::info!("heapward is off (HEAPWARD_ENABLED=false)");
            return Ok(Self { running: None });
        }
        warn_of_unknown_variables();
        let slot = Slot::take()?;
        // What can be refused comes first, so that nothing is left running when it is.
        let server = Bound::bind(&config.listen)?;
        prepare_folder(&config.profiles_dir)?;
        let started = Instant::now();
        let gauges = Gauges::open(started)?;
        let source = if config.use_hooks { Collector::best_source() } else { Source::Dump };
        let collector = Collector::start(config.limits, source)?;

        let (commands, command_queue) = sync_channel(watch::QUEUE);
        let (jobs, job_queue) = sync_channel(render::QUEUE);
        let shared = Arc::new(Shared {
            history: Mutex::new(History::new(config.retention)),
            status: Mutex::new(Status::new()),
            collector,
            started,
            commands,
            jobs,
            cached_symbols: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            cgroup: gauges.describe_cgroup(),
            config,
        });
        let mut running = Running { shared, server, threads: Vec::new() };
        if let Err(error) = running.spawn(gauges, command_queue, job_queue, slot) {
            running.stop();
            return Err(error);
        }
        let shared = &running.shared;
        tracing::info!(
            "heapward: one sample in {} on average, by {}; snapshots above {} RSS; {}",
            crate::ByteSize::bytes(collector.interval().bytes()),
            match collector.source() {
                Source::Hooks => "jemalloc's hooks",
                Source::Dump => "jemalloc's dumps",
            },
            shared.config.rss_threshold,
            match &running.server {
                Some(server) => format!("serving on {}", server.describe()),
                None => "not serving".to_owned(),
            }
        );
        Ok(Self { running: Some(running) })
    }

    fn running(&self) -> Result<&Running> {
        self.running.as_ref().ok_or_else(stopped)
    }

    /// Whether anything runs: false with `HEAPWARD_ENABLED=false`.
    pub fn is_enabled(&self) -> bool {
        self.running.is_some()
    }

    /// The TCP address that the server listens on; `None` on a socket file, or when it does not listen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.as_ref()?.server.as_ref()?.address()
    }

    /// Takes a snapshot now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RateLimited`] within a second of the last one on request.
    pub fn snapshot(&self) -> Result<SnapshotInfo> {
        let (reply, answer) = sync_channel(1);
        self.running()?.shared.request_snapshot(move |snapshot| {
            // Full or gone only when the caller is: then nobody wants to know.
            let _ = reply.try_send(snapshot);
        })?;
        wait(&answer)?.map(|snapshot| SnapshotInfo::of(&snapshot))
    }

    /// The snapshots that are kept, oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        match &self.running {
            Some(running) => running.shared.history().all().iter().map(|snapshot| SnapshotInfo::of(snapshot)).collect(),
            None => Vec::new(),
        }
    }

    /// A snapshot as gzipped profile.proto, for `go tool pprof`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn heap_prof(&self, snapshot: Selector) -> Result<Vec<u8>> {
        self.pprof(Heap::Kept(snapshot))
    }

    /// The heap as it is now, as gzipped profile.proto. Takes no snapshot and ends no epoch.
    ///
    /// # Errors
    ///
    /// When the profiler does not run.
    pub fn live_heap_prof(&self) -> Result<Vec<u8>> {
        self.pprof(Heap::Live)
    }

    /// The `count` sites that hold the most bytes in a snapshot, largest first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such snapshot.
    pub fn top(&self, snapshot: Selector, count: usize) -> Result<Vec<TopSite>> {
        self.render(move |shared, cache| {
            let profile = shared.profile(Heap::Kept(snapshot), cache)?;
            Ok(Top::of(&profile, INUSE_SPACE, count).rows.into_iter().map(TopSite::of).collect())
        })
    }

    fn pprof(&self, heap: Heap) -> Result<Vec<u8>> {
        self.render(move |shared, cache| {
            let mut bytes = Vec::new();
            pprof::write(&shared.profile(heap, cache)?, &mut bytes)
                .map_err(|error| Error::io("writing a profile", error))?;
            Ok(bytes)
        })
    }

    /// Has `work` done by the renderer and waits for it.
    fn render<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &mut SymbolCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.running()?.shared.render(move |shared, cache| {
            // Gone only when the caller gave up waiting.
            let _ = reply.try_send(work(shared, cache));
        })?;
        wait(&answer)?
    }

    /// What the trigger made of the last reading, and why: "not taken: 37 s of the 60 s interval left".
    pub fn last_decision(&self) -> String {
        match &self.running {
            Some(running) => running.shared.status().decision.to_string(),
            None => "not taken: heapward is switched off".to_owned(),
        }
    }

    /// Every sampled object that is alive, for heapward's own tests.
    #[doc(hidden)]
    pub fn live_samples(&self) -> Vec<LiveSample> {
        let Some(running) = &self.running else { return Vec::new() };
        let collector = running.shared.collector;
        let sample = |object: LiveObject| LiveSample {
            address: object.address,
            requested: object.requested,
            usable: object.usable,
            epoch: object.epoch,
            birth_millis: object.birth_millis,
            depth: collector.stacks().frames(object.stack).len(),
        };
        collector.live_objects().into_iter().map(sample).collect()
    }

    /// Stops sampling; what is alive stays in the live set until it is freed. Snapshots from now on are marked
    /// partial, also after [`Profiler::resume`].
    ///
    /// # Errors
    ///
    /// When the profiler does not run, or jemalloc refuses.
    pub fn pause(&self) -> Result<()> {
        self.running()?.shared.collector.pause()
    }

    /// Samples again.
    ///
    /// # Errors
    ///
    /// As [`Profiler::pause`].
    pub fn resume(&self) -> Result<()> {
        self.running()?.shared.collector.resume()
    }

    /// The server's routes, for the host's own server: as a warp filter and as a tower service.
    pub fn routes(&self) -> Routes {
        Routes::new(self.running.as_ref().map(|running| Arc::clone(&running.shared)))
    }

    /// Ends heapward's threads, closes its port and stops sampling. Waits until that is done.
    pub fn shutdown(mut self) {
        if let Some(mut running) = self.running.take() {
            running.stop();
            for thread in running.threads.drain(..) {
                // A panic was reported when it happened.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            running.stop();
        }
    }
}

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiler").field("enabled", &self.is_enabled()).field("address", &self.address()).finish()
    }
}

impl Running {
    fn spawn(
        &mut self,
        gauges: Gauges,
        commands: Receiver<Command>,
        jobs: Receiver<render::Job>,
        slot: Slot,
    ) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.threads.push(threads::spawn("heapward-render", move || {
            render::run(&jobs, &shared);
        })?);
        if let Some(server) = &mut self.server {
            let serve = server.serve(Routes::new(Some(Arc::clone(&self.shared))))?;
            self.threads.push(threads::spawn("heapward-http", serve)?);
        }
        let watcher = Watcher::new(Arc::clone(&self.shared), gauges);
        self.threads.push(threads::spawn("heapward", move || {
            watcher.run(&commands);
            drop(slot);
        })?);
        Ok(())
    }

    /// Tells the threads to end. Safe to call twice.
    fn stop(&mut self) {
        let shared = &self.shared;
        // In a forked child there are no threads to tell, and their queues may be locked for ever.
        if shared.collector.is_quiet() || shared.stopped.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = shared.collector.pause() {
            tracing::warn!("heapward: sampling could not be stopped: {error}");
        }
        // To wake them; a thread with a full queue is awake and sees the flag.
        let _ = shared.commands.try_send(Command::Stop);
        let _ = shared.jobs.try_send(render::Job::Stop);
        if let Some(server) = &mut self.server {
            server.stop();
        }
    }
}

/// The right to be the one profiler of this process; given back when dropped.
struct Slot;

impl Slot {
    fn take() -> Result<Self> {
        if RUNNING.swap(true, Ordering::AcqRel) {
            return Err(Error::new(
                ErrorKind::AlreadyRunning,
                "a profiler runs in this process already: keep the first one, or shut it down before starting another",
            ));
        }
        Ok(Self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::Release);
    }
}

fn wait<T>(answer: &Receiver<T>) -> Result<T> {
    answer.recv_timeout(PATIENCE).map_err(|_| {
        Error::new(ErrorKind::Busy, format!("heapward's own thread gave no answer within {} s", PATIENCE.as_secs()))
    })
}

/// Makes the folder that somebody named and tries whether it can be written to.
fn prepare_folder(folder: &ProfilesDir) -> Result<()> {
    let ProfilesDir::Named(path) = folder else { return Ok(()) };
    try_folder(path).map_err(|error| {
        Error::io(
            format!(
                "profiles_dir (HEAPWARD_PROFILES_DIR) is {}, which cannot be written to: name a folder that this user may write \
                 to, or `off`",
                path.display()
            ),
            error,
        )
    })
}

fn try_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let probe = path.join(format!(".heapward-probe-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(&probe)
}

/// A variable with a slip in its name would be ignored in silence.
fn warn_of_unknown_variables() {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HEAPWARD_") && !VARIABLES.contains(&&*name) {
            tracing::warn!("heapward: the variable {name} is unknown; known are {}", VARIABLES.join(", "));
        }
    }
}
