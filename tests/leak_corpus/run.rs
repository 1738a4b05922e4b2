//! The pace of a run, and the count of what it holds.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tikv_jemalloc_ctl::thread;

/// The time between two ticks of a service.
pub const TICK: Duration = Duration::from_millis(20);

/// How many ticks a run has. It goes on for the moments that heapward takes to answer.
pub const TICKS: u64 = 400;

/// One run of a service, shared by its threads.
#[derive(Debug)]
pub struct Run {
    begun: Instant,
    is_over: AtomicBool,
    /// What each thread allocated less what it freed, in bytes, as of its last tick.
    held: Mutex<Vec<Arc<AtomicI64>>>,
    /// The same of what was counted on its own.
    held_by_others: AtomicI64,
}

impl Run {
    pub fn begin() -> Self {
        Self {
            begun: Instant::now(),
            is_over: AtomicBool::new(false),
            held: Mutex::default(),
            held_by_others: AtomicI64::new(0),
        }
    }

    /// The ticks of the calling thread: 0, 1, … each at its time, until the run is over. A thread that came late
    /// catches up, so that rates are those that the service asks for. From here on, what the thread allocates and
    /// frees is counted.
    pub fn ticks(&self) -> Ticks<'_> {
        let count = Arc::new(AtomicI64::new(0));
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&count));
        Ticks { run: self, next: 0, before: net_allocated(), count }
    }

    /// Does `work` on a thread that has no ticks, and counts what that allocates and frees.
    pub fn count(&self, work: impl FnOnce()) {
        let before = net_allocated();
        work();
        self.held_by_others.fetch_add(net_allocated() - before, Ordering::Relaxed);
    }

    /// Bytes that the threads of the service hold, by jemalloc's own exact count.
    pub fn held(&self) -> i64 {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|count| count.load(Ordering::Relaxed)).sum::<i64>()
            + self.held_by_others.load(Ordering::Relaxed)
    }

    /// The time until the last tick; `None` when that has come.
    pub fn left(&self) -> Option<Duration> {
        (self.begun + TICK * TICKS as u32).checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// The ticks of one thread.
#[derive(Debug)]
pub struct Ticks<'r> {
    run: &'r Run,
    next: u64,
    before: i64,
    count: Arc<AtomicI64>,
}

impl Ticks<'_> {
    /// The next tick, for a service on a runtime of one thread.
    pub async fn tick(&mut self) -> Option<u64> {
        let due = self.due();
        tokio::time::sleep_until(due.into()).await;
        self.come()
    }

    /// When the next tick is due. What the last one did counts from now on.
    fn due(&self) -> Instant {
        self.count.store(net_allocated() - self.before, Ordering::Relaxed);
        self.run.begun + TICK * self.next as u32
    }

    fn come(&mut self) -> Option<u64> {
        let tick = self.next;
        self.next += 1;
        (!self.run.is_over()).then_some(tick)
    }
}

impl Iterator for Ticks<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let due = self.due();
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        self.come()
    }
}

/// What the calling thread ever allocated less what it ever freed, in bytes as jemalloc rounds them up. Negative for a
/// thread that frees what others allocated.
fn net_allocated() -> i64 {
    let allocated = thread::allocatedp::read().expect("jemalloc counts what a thread allocates").get();
    let freed = thread::deallocatedp::read().expect("jemalloc counts what a thread frees").get();
    allocated.wrapping_sub(freed).cast_signed()
}
