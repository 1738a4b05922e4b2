//! Work that the threads of a server have no time for.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::profiler::{Namer, Shared, spawn_unsampled};

/// Has an answer made by the renderer: looking names up and packing take time that the host's threads do not have.
pub(super) async fn render<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared, &mut Namer<'_>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, done) = tokio::sync::oneshot::channel();
    shared.render(move |shared, namer| {
        // The client may have left while its request was waiting: then there is nobody to work for.
        if !reply.is_closed() {
            // Gone only when the client is.
            let _ = reply.send(work(shared, namer));
        }
    })?;
    done.await.map_err(|_| gave_up())?
}

/// Lets `time` pass, on a thread of its own: a host's runtime may have no timer. Ends with the request.
pub(super) async fn wait(time: Duration) -> Result<()> {
    let (keep_waiting, ended) = channel::<()>();
    let (reply, done) = tokio::sync::oneshot::channel();
    spawn_unsampled("heapward-wait", move || {
        if ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            // Gone only when the client is.
            let _ = reply.send(());
        }
    })?;
    let waited = done.await.map_err(|_| gave_up());
    drop(keep_waiting);
    waited
}

pub(super) fn gave_up() -> Error {
    Error::new(ErrorKind::Busy, "heapward's own thread gave this request up: it failed or is shutting down")
}
