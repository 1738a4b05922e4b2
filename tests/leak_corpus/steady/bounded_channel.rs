//! Jobs through a channel with room for 256, which is full most of the time: the worker is slower than those who send.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::common::Random;
use crate::run::Run;

const ROOM: usize = 256;
const JOBS_A_TICK: usize = 9;
const DONE_A_TICK: usize = 6;

#[derive(Debug)]
struct Job {
    body: Vec<u8>,
}

pub fn serve(run: &Run) {
    let (jobs, worker) = sync_channel(ROOM);
    std::thread::scope(|scope| {
        scope.spawn(move || work(run, &worker));
        send(run, &jobs);
    });
}

fn send(run: &Run, jobs: &SyncSender<Job>) {
    let mut random = Random::of_thread(0);
    let mut refused = 0;
    for _ in run.ticks() {
        for _ in 0..JOBS_A_TICK {
            let job = read_job(random.next() as u8);
            match jobs.try_send(job) {
                Ok(()) => {}
                // Told to come back later.
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => refused += job.body.len().min(1),
            }
        }
    }
    assert!(refused > 0, "the channel was never full");
}

#[inline(never)]
fn read_job(byte: u8) -> Job {
    Job { body: vec![byte; 4096] }
}

fn work(run: &Run, jobs: &Receiver<Job>) {
    let mut done = 0u64;
    for _ in run.ticks() {
        done += jobs.try_iter().take(DONE_A_TICK).map(|job| u64::from(job.body[0])).sum::<u64>();
    }
    assert!(done > 0, "no job was done");
}
