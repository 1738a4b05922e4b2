//! A request's body that must come within a time.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// How long a body may take, from the moment that somebody wants it. As long as a head.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A body that fails when its time is over.
pub(super) struct Impatient<B> {
    body: B,
    /// Runs from the first look at the body on.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Impatient<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, deadline: None }
    }
}

impl<B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> Body for Impatient<B> {
    type Data = B::Data;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Pending => deadline.as_mut().poll(context).map(|()| Some(Err("the body took too long".into()))),
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
