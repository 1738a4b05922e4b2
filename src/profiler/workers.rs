//! The threads that watch and render, from their start to their end.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::render::{self, Job};
use super::watch::{self, Command, Watcher};
use super::{Config, Disk, Gauges, Shared, alerting, disk, threads};
use crate::alerts::Desk;
use crate::collect::Collector;
use crate::error::Result;

/// The thread that writes snapshots.
const DISK: &str = "heapward-disk";

/// How long the end waits for it and for the thread that reads: a disk that does not answer must not keep a service from ending.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// The running threads. They end when told to; dropping this tells them and does not wait.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the watcher and the renderer. `token` is dropped when the last thread has ended.
    pub(crate) fn start<T: Send + Sync + 'static>(
        config: Config,
        collector: &'static Collector,
        gauges: Gauges,
        alerts: Option<Desk>,
        token: &Arc<T>,
    ) -> Result<Self> {
        let (commands, command_queue) = sync_channel(watch::QUEUE);
        let (jobs, job_queue) = sync_channel(render::QUEUE);
        let (disk, wakes) = Disk::new(&config.profiles_dir);
        let shared = Arc::new(Shared::new(config, collector, &gauges, commands, jobs, alerts, disk));
        // From here on, an error drops `workers`, which ends the threads that run already.
        let mut workers = Self { shared, threads: Vec::new() };
        // Before the disk's thread, which ends after the watcher; given up with it, or by an error.
        let watching = disk::Watching::begin(&workers.shared);
        let shared = Arc::clone(&workers.shared);
        workers.spawn("heapward-render", token, move || render::run(&job_queue, &shared))?;
        if workers.shared.alerts().is_some() {
            let shared = Arc::clone(&workers.shared);
            workers.spawn("heapward-alerts", token, move || alerting::send(&shared))?;
        }
        if let Some(wakes) = wakes {
            let shared = Arc::clone(&workers.shared);
            workers.spawn(DISK, token, move || disk::run(&wakes, &shared))?;
        }
        let watcher = Watcher::new(Arc::clone(&workers.shared), gauges);
        workers.spawn("heapward", token, move || {
            let _watching = watching;
            watcher.run(&command_queue);
        })?;
        Ok(workers)
    }

    /// Starts one more thread of heapward's own, which somebody else must tell to end.
    pub(crate) fn spawn<T: Send + Sync + 'static>(
        &mut self,
        name: &str,
        token: &Arc<T>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let token = Arc::clone(token);
        self.threads.push(threads::spawn(name, move || {
            run();
            drop(token);
        })?);
        Ok(())
    }

    /// What the threads share with everybody else.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stops sampling and tells the threads to end.
    pub(crate) fn stop(&self) {
        let shared = &self.shared;
        // In a forked child there are no threads to tell, and their queues may be locked for ever.
        if shared.collector.is_quiet() || shared.stop() {
            return;
        }
        if let Err(error) = shared.collector.pause() {
            tracing::warn!("heapward: sampling could not be stopped: {error}");
        }
        // To wake them; a thread with a full queue is awake and sees that it is stopped.
        let _ = shared.commands.try_send(Command::Stop);
        let _ = shared.jobs.try_send(Job::Stop);
        if let Some(alerts) = shared.alerts() {
            alerts.stop();
        }
        shared.reader.stop();
        shared.disk().end();
        shared.disk().wake();
    }

    /// Waits until the threads have ended.
    pub(crate) fn join(&mut self) {
        // A forked child cannot know whether the list was locked.
        let asides = if self.shared.collector.is_quiet() { Vec::new() } else { self.shared.asides() };
        // The disk's last: it ends after the watcher, and has its own time for what is left.
        let mut begun = None;
        self.threads.sort_by_key(|thread| thread.thread().name() == Some(DISK));
        for thread in asides.into_iter().chain(self.threads.drain(..)) {
            if self.shared.collector.is_quiet() {
                // A forked child has none of the threads, and std's handle is not made for that: not even to drop.
                std::mem::forget(thread);
                continue;
            }
            if thread.thread().name() == Some(DISK)
                && !ends_within(&thread, *begun.get_or_insert_with(Instant::now), DISK_PATIENCE)
            {
                tracing::warn!("heapward: the disk does not answer; what it still has to write is left to it");
                continue;
            }
            // A panic was reported when it happened.
            let _ = thread.join();
        }
        self.join_reader(begun.unwrap_or_else(Instant::now));
    }

    fn join_reader(&self, begun: Instant) {
        // In a forked child its lock may be held for ever.
        if self.shared.collector.is_quiet() {
            return;
        }
        let Some(thread) = self.shared.reader.thread() else { return };
        if ends_within(&thread, begun, DISK_PATIENCE) {
            let _ = thread.join();
        } else {
            tracing::warn!(
                "heapward: the disk does not answer; the thread that reads what earlier runs left is left to it"
            );
        }
    }
}

/// Whether `thread` ends in that time since the end `begun`.
fn ends_within(thread: &JoinHandle<()>, begun: Instant, patience: Duration) -> bool {
    while !thread.is_finished() {
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_a_thread_that_hangs_no_longer_than_its_patience() {
        let (disk, hangs) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || _ = hangs.recv());
        assert!(!ends_within(&thread, Instant::now(), Duration::from_millis(5)));
        drop(disk);
        assert!(ends_within(&thread, Instant::now(), Duration::from_secs(60)));
        // What is over is over, however late somebody asks.
        assert!(ends_within(&thread, Instant::now(), Duration::ZERO));
        thread.join().unwrap();
    }
}
