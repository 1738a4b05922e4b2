//! heapward's routes as parts: for a host's own server.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use warp::filters::BoxedFilter;
use warp::path::Tail;
use warp::{Filter, Rejection};

use super::answer::{self, Answer, ErrorStyle};
use super::{guard, handlers};
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
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        warp::method()
            .and(warp::path::tail())
            .and(query)
            .and(warp::header::headers_cloned())
            .and_then(move |method: Method, tail: Tail, query: String, headers: HeaderMap| {
                let routes = routes.clone();
                async move {
                    let parts = parts(method, &tail, &query, headers);
                    routes.answer(&parts, tail.as_str()).await.ok_or_else(warp::reject::not_found)
                }
            })
            .boxed()
    }

    /// The filter of heapward's own server, which has nobody to pass an unknown path to.
    pub(super) fn whole_server(&self) -> BoxedFilter<(Response<Bytes>,)> {
        self.filter()
            .or_else(|rejection: Rejection| async move {
                if rejection.is_not_found() { Ok((handlers::not_found(),)) } else { Err(rejection) }
            })
            .boxed()
    }

    /// A tower service, for `axum::Router::nest_service("/heap", routes.service())`.
    pub fn service(&self) -> RouteService {
        RouteService { routes: self.clone() }
    }

    async fn answer(&self, parts: &Parts, path: &str) -> Option<Answer> {
        let Some(shared) = &self.shared else {
            return Some(answer::error(&stopped(), ErrorStyle::Pprof));
        };
        let local = if self.local_only { guard::check_local(&parts.headers) } else { Ok(()) };
        let allowed = local.and_then(|()| guard::check_token(&parts.headers, shared.config().token.as_deref()));
        match allowed {
            Ok(()) => handlers::dispatch(shared, parts, path).await,
            Err(refused) => Some(*refused),
        }
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").field("enabled", &self.shared.is_some()).finish_non_exhaustive()
    }
}

/// What warp hands over in pieces, as one request's head.
fn parts(method: Method, tail: &Tail, query: &str, headers: HeaderMap) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.headers = headers;
    // Came out of a URI, so goes into one.
    if let Ok(uri) = format!("/{}?{query}", tail.as_str()).parse() {
        parts.uri = uri;
    }
    parts
}

/// heapward's routes as a tower service. Request bodies are not read.
#[derive(Clone, Debug)]
pub struct RouteService {
    routes: Routes,
}

impl<B> tower_service::Service<Request<B>> for RouteService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let routes = self.routes.clone();
        let (parts, _) = request.into_parts();
        Box::pin(async move {
            let answer = routes.answer(&parts, parts.uri.path()).await.unwrap_or_else(handlers::not_found);
            Ok(answer.map(Full::new))
        })
    }
}
