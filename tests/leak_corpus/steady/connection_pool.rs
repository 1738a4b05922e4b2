//! A pool of connections on a tokio runtime: it opens one more whenever all are busy, up to its maximum, which it
//! reaches within the first quarter of the run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::common::Random;
use crate::run::{Run, TICK};

const MAXIMUM: usize = 64;
/// A query starts so often at first, and then more often.
const QUERIES_A_TICK: u64 = 1;
const MORE: u64 = 20;

#[derive(Debug)]
struct Connection {
    sent: Vec<u8>,
    _received: Vec<u8>,
}

#[derive(Debug)]
struct Pool {
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Pool {
    async fn query(&self, takes: Duration, byte: u8) {
        // A pool that is closed answers nobody.
        let Ok(_permit) = self.permits.acquire().await else { return };
        let idle = self.idle.lock().expect("no thread panics with the lock").pop();
        let mut connection = idle.unwrap_or_else(open_connection);
        connection.sent.fill(byte);
        tokio::time::sleep(takes).await;
        self.idle.lock().expect("no thread panics with the lock").push(connection);
    }
}

#[inline(never)]
fn open_connection() -> Connection {
    Connection { sent: vec![0; 16 << 10], _received: vec![0; 16 << 10] }
}

pub fn serve(run: &Run) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let pool = Arc::new(Pool { idle: Mutex::default(), permits: Semaphore::new(MAXIMUM) });
    runtime.block_on(async {
        let mut random = Random::of_thread(0);
        let mut ticks = run.ticks();
        while let Some(tick) = ticks.tick().await {
            // 64 at once take 32 queries a second, so this many are as many as the pool can do.
            for _ in 0..QUERIES_A_TICK + (tick / MORE).min(2) {
                let takes = TICK * random.within(10..30) as u32;
                let pool = Arc::clone(&pool);
                if pool.permits.available_permits() > 0 {
                    tokio::spawn(async move { pool.query(takes, tick as u8).await });
                }
            }
            tokio::task::yield_now().await;
        }
    });
}
