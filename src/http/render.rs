//! Work that the threads of a server have no time for.

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Answer;
use crate::error::{Error, ErrorKind, Result};
use crate::profiler::{AnswerRoom, Namer, Operation, Patience, Shared};

/// As [`render_as`], of what has no name of its own among what may be slow.
pub(super) async fn render(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared, &mut Namer<'_>) -> Result<Answer> + Send + 'static,
) -> Result<Answer> {
    render_as(Operation::Other, shared, work).await
}

/// Has an answer made by the renderer: looking names up and packing take time that the host's threads do not have.
///
/// The answer stays in memory until the client has read it, so all that are there have a bound together.
pub(super) async fn render_as(
    operation: Operation,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared, &mut Namer<'_>) -> Result<Answer> + Send + 'static,
) -> Result<Answer> {
    let (reply, done) = tokio::sync::oneshot::channel();
    let room = shared.clone();
    shared.render(operation, move |shared, namer| {
        // The client may have left while its request was waiting: then there is nobody to work for.
        if !reply.is_closed() {
            let answer = room.answer_room().and_then(|room| Ok(held(work(shared, namer)?, room)));
            // Gone only when the client is.
            let _ = reply.send(answer);
        }
    })?;
    done.await.map_err(|_| gave_up())?
}

/// Has `work`, which waits for time to pass, done by a thread of its own: a host's runtime may have no timer, and what
/// is begun must be ended by heapward, whatever becomes of the request.
pub(super) async fn aside<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Arc<Shared>, &Patience) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, done) = tokio::sync::oneshot::channel();
    let _interest = shared.aside(move |shared, patience| {
        // Gone only when the client is.
        let _ = reply.send(work(shared, patience));
    })?;
    done.await.map_err(|_| gave_up())?
}

pub(super) fn gave_up() -> Error {
    Error::new(ErrorKind::Busy, "heapward's own thread gave this request up: it failed or is shutting down")
}

/// The answer with a body that counts for as long as somebody has it.
fn held(answer: Answer, mut room: AnswerRoom) -> Answer {
    struct Held {
        body: Bytes,
        /// Dropped with the body.
        _room: AnswerRoom,
    }

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }

    room.take(answer.body().len());
    answer.map(|body| Bytes::from_owner(Held { body, _room: room }))
}
