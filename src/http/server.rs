//! The loop behind heapward's own port: warp's filter on a bounded number of connections, each of bounded length.
//!
//! warp's own server takes whatever connects for as long as it stays, and a service that runs out of file descriptors
//! because somebody holds its profiler's port open has been hurt by its profiler.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};
use tower_service::Service;

use super::Routes;
use super::bound::Listener;
use super::impatient::Impatient;
use super::pprof::MOST_SECONDS;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take, from the moment that the connection waits for it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// After this long a connection takes no further request …
const LIFETIME: Duration = Duration::from_secs(120);
/// … and after this much longer it is cut, in the middle of an answer if need be: longer than what takes longest.
const GRACE: Duration = Duration::from_secs(MOST_SECONDS as u64 + 60);
/// What is kept of a request's head before it is refused.
const HEAD_BYTES: usize = 32 * 1024;
/// How long to wait after a connection could not be taken, for want of file descriptors say.
const RETRY: Duration = Duration::from_millis(200);

/// Serves until `stopped`; tells `ready` once whether it could start.
pub(super) fn run(
    listener: Listener,
    routes: &Routes,
    stopped: oneshot::Receiver<()>,
    ready: &SyncSender<io::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Gone only when whoever starts us gave up.
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let acceptor = match Acceptor::new(listener) {
            Ok(acceptor) => acceptor,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        tokio::select! {
            // Told to, or the handle is gone. Open connections end with the runtime.
            _ = stopped => {}
            () = accept(&acceptor, routes) => {}
        }
    });
}

/// A listener that the runtime knows.
enum Acceptor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Acceptor {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }
}

async fn accept(acceptor: &Acceptor, routes: &Routes) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    // Closed never, so always `Ok`.
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let routes = routes.clone();
        let taken = match acceptor {
            Acceptor::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    serve(stream, &routes).await;
                    drop(permit);
                });
            }),
            Acceptor::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    serve(stream, &routes).await;
                    drop(permit);
                });
            }),
        };
        if let Err(error) = taken {
            tracing::debug!("heapward: a connection could not be taken: {error}");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, routes: &Routes) {
    let routes = warp::service(routes.whole_server());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut routes = routes.clone();
        // `CONNECT host:port` has no path, and warp panics when it looks for one.
        if request.uri().path_and_query().is_none() {
            *request.uri_mut() = Uri::from_static("/");
        }
        routes.call(request.map(Impatient::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = match tokio::time::timeout(LIFETIME, connection.as_mut()).await {
        Ok(served) => served,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        // The other side's doing: cut off, or not HTTP.
        tracing::debug!("heapward: a connection ended early: {error}");
    }
}
