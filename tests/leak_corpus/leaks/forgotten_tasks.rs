//! A tokio task for each upload, which waits for an answer that nobody sends and holds its buffer meanwhile: 200 KiB/s.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::run::Run;

/// One upload in so many is never answered.
const STUCK: u64 = 3;

pub fn serve(run: &Run) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answered = Arc::new(Notify::new());
    let never = Arc::new(Notify::new());
    runtime.block_on(async {
        let mut ticks = run.ticks();
        while let Some(tick) = ticks.tick().await {
            answered.notify_waiters();
            for upload in 0..STUCK {
                // The bug: the answer to one kind of upload goes elsewhere, and there is no timeout.
                let answer = if upload == tick % STUCK { &never } else { &answered };
                tokio::spawn(store_upload(tick as u8, Arc::clone(answer)));
            }
            tokio::task::yield_now().await;
        }
    });
}

async fn store_upload(byte: u8, answer: Arc<Notify>) {
    let upload = receive_upload(byte);
    answer.notified().await;
    drop(upload);
}

#[inline(never)]
fn receive_upload(byte: u8) -> Vec<u8> {
    let mut upload = vec![byte; 4096];
    // Something after the call, or optimized code would jump there and leave no frame of this function.
    upload[0] = b'{';
    upload
}
