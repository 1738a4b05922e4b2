//! heapward's routes as parts: for a host's own server.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::Tail;

use super::answer::{self, Answer, ErrorStyle};
use super::guard;
use super::handlers::{self, Endpoint};
use crate::collect::Collector;
use crate::profiler::{Shared, stopped};

/// heapward's routes, for the host's own server. Mount them under a path of their own: `/` is the listing.
///
/// A token that is set is asked for here too. Whether others may reach the host's server is the host's to know.
#[derive(Clone)]
pub struct Routes {
    /// `None` when heapward is switched off: everything answers 503.
    shared: Option<Arc<Shared>>,
    /// Whether `Host` must be this machine: on a loopback server of our own.
    local_only: bool,
}

impl Routes {
    pub(crate) fn new(shared: Option<Arc<Shared>>) -> Self {
        Self { shared, local_only: false }
    }

    pub(super) fn local_only(mut self) -> Self {
        self.local_only = true;
        self
    }

    /// A warp filter, for `warp::path("heap").and(routes.filter())`. A path that heapward does not have is rejected,
    /// so that the host's other filters get it.
    pub fn filter(&self) -> BoxedFilter<(Response<Bytes>,)> {
        let routes = self.clone();
        request(self.clone())
            .and_then(move |parts: Parts, body: Body| {
                let routes = routes.clone();
                async move {
                    // Before anybody is refused: what is not ours is not ours to refuse either.
                    match Endpoint::find(parts.uri.path()) {
                        Some(endpoint) => Ok(routes.answer(&parts, &body, Some(endpoint)).await),
                        None => Err(warp::reject::not_found()),
                    }
                }
            })
            .boxed()
    }

    /// The filter of heapward's own server, which has nobody to pass an unknown path to.
    pub(super) fn whole_server(&self) -> BoxedFilter<(Response<Bytes>,)> {
        let routes = self.clone();
        request(self.clone())
            .then(move |parts: Parts, body: Body| {
                let routes = routes.clone();
                async move { routes.answer(&parts, &body, Endpoint::find(parts.uri.path())).await }
            })
            .boxed()
    }

    /// A tower service, for `axum::Router::nest_service("/heap", routes.service())`.
    pub fn service(&self) -> RouteService {
        RouteService { routes: self.clone() }
    }

    /// Answers whoever may ask, also when no endpoint has the path.
    async fn answer(&self, parts: &Parts, body: &Body, endpoint: Option<Endpoint<'_>>) -> Answer {
        let style = ErrorStyle::of(parts.uri.path());
        let answer = match &self.shared {
            // What it would answer with belongs to the parent, behind locks that may be held for ever.
            Some(shared) if shared.collector().is_quiet() => answer::error(&Collector::forked(), style),
            // A profiler that was shut down has nothing but figures that are out of date.
            Some(shared) if !shared.is_stopped() => self.answer_running(shared, parts, body, endpoint, style).await,
            _ => answer::error(&stopped(), style),
        };
        style.finish(answer)
    }

    /// Refuses whoever may not ask.
    fn check(&self, shared: &Shared, parts: &Parts) -> Result<(), Box<Answer>> {
        if self.local_only {
            guard::check_local(&parts.headers)?;
        }
        guard::check_token(&parts.headers, shared.config().token.as_deref())
    }

    /// Whether there is a body for an endpoint that reads it, from somebody who may ask: nobody else is waited for.
    fn reads_body(&self, parts: &Parts) -> bool {
        wants_body(parts) && self.shared.as_ref().is_some_and(|shared| self.check(shared, parts).is_ok())
    }

    async fn answer_running(
        &self,
        shared: &Arc<Shared>,
        parts: &Parts,
        body: &Body,
        endpoint: Option<Endpoint<'_>>,
        style: ErrorStyle,
    ) -> Answer {
        match (self.check(shared, parts), endpoint, body) {
            (Err(refused), ..) => *refused,
            (Ok(()), None, _) => handlers::not_found(),
            (Ok(()), Some(_), Body::Refused) => answer::body_too_long(BODY_BYTES),
            (Ok(()), Some(endpoint), Body::Read(body)) => handlers::answer(shared, parts, body, endpoint)
                .await
                .unwrap_or_else(|error| answer::error(&error, style)),
        }
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").field("enabled", &self.shared.is_some()).finish_non_exhaustive()
    }
}

/// The longest body that is read: as many addresses as one profile has places.
const BODY_BYTES: usize = 1 << 20;

/// What came with a request.
enum Body {
    /// All of it; empty where no endpoint reads one.
    Read(Bytes),
    /// It is too long, or does not say how long it is, or broke off.
    Refused,
}

/// Whether a body is for an endpoint that reads it.
fn wants_body(parts: &Parts) -> bool {
    parts.method == Method::POST && Endpoint::find(parts.uri.path()) == Some(Endpoint::Symbol)
}

/// A request's head and body. A body that is not for us is left where it is, for the host's other filters.
fn request(routes: Routes) -> impl Filter<Extract = (Parts, Body), Error = Infallible> + Clone {
    let length = |parts: &Parts| -> Option<usize> {
        parts.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    };
    let short = move |parts: Parts| {
        let read = routes.reads_body(&parts) && length(&parts).is_some_and(|length| length <= BODY_BYTES);
        async move { if read { Ok(parts) } else { Err(warp::reject::not_found()) } }
    };
    let with_body = request_head().and_then(short).and(warp::body::bytes().map(Body::Read));
    let without = request_head().map(|parts: Parts| {
        let body = if wants_body(&parts) { Body::Refused } else { Body::Read(Bytes::new()) };
        (parts, body)
    });
    with_body.map(|parts, body| (parts, body)).or(without).unify().untuple_one()
}

/// A request's head with the path relative to where the filter is mounted, put together from warp's pieces.
fn request_head() -> impl Filter<Extract = (Parts,), Error = Infallible> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method().and(warp::path::tail()).and(query).and(warp::header::headers_cloned()).map(
        |method: Method, tail: Tail, query: String, headers: HeaderMap| {
            let (mut parts, ()) = Request::new(()).into_parts();
            parts.method = method;
            parts.headers = headers;
            // Came out of a URI, so goes into one.
            if let Ok(uri) = format!("/{}?{query}", tail.as_str()).parse() {
                parts.uri = uri;
            }
            parts
        },
    )
}

/// heapward's routes as a tower service. Of request bodies, it reads those of `POST /debug/pprof/symbol`.
#[derive(Clone, Debug)]
pub struct RouteService {
    routes: Routes,
}

impl<B> tower_service::Service<Request<B>> for RouteService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let routes = self.routes.clone();
        let (parts, body) = request.into_parts();
        Box::pin(async move {
            let body = if routes.reads_body(&parts) {
                match Limited::new(body, BODY_BYTES).collect().await {
                    Ok(body) => Body::Read(body.to_bytes()),
                    Err(_) => Body::Refused,
                }
            } else {
                Body::Read(Bytes::new())
            };
            let answer = routes.answer(&parts, &body, Endpoint::find(parts.uri.path())).await;
            Ok(answer.map(Full::new))
        })
    }
}
