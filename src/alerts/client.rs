//! One HTTP request to somebody who may answer anything, or nothing.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Target;

/// What is kept of an answer's head before it is refused.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;
/// What is read of an answer's body.
const BODY_BYTES: usize = 64 * 1024;
/// What is told of it.
const EXCERPT_CHARS: usize = 200;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Finding an address and connecting to one.
    pub(super) connect: Duration,
    /// The body of the answer, once the head is there.
    pub(super) body: Duration,
    /// All of it.
    pub(super) total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let second = Duration::from_secs;
        Self { connect: second(5), body: second(2), total: second(10) }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    words: String,
    /// Whether another attempt would end the same.
    pub(super) is_final: bool,
}

impl Failure {
    fn again(words: impl Into<String>) -> Self {
        Self { words: words.into(), is_final: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Posts JSON to one address; a connection for each request.
pub(super) struct Client {
    target: Target,
    limits: Limits,
    /// The search for the address of a name, which nobody can end: the next attempt waits for the same.
    lookup: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Client {
    pub(super) fn new(target: Target, limits: Limits) -> Self {
        Self { target, limits, lookup: None }
    }

    /// Posts `body`; good is every answer that begins with 2.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<(), Failure> {
        let total = self.limits.total;
        let no_answer = |_| Failure::again(format!("no answer within {} s", total.as_secs_f64()));
        timeout(total, self.attempt(body)).await.map_err(no_answer)?
    }

    async fn attempt(&mut self, body: Bytes) -> Result<(), Failure> {
        let limit = self.limits.connect;
        let stream = match timeout(limit, self.connect()).await {
            Ok(stream) => stream.map_err(|error| Failure::again(format!("connecting failed: {error}")))?,
            Err(_) => return Err(Failure::again(format!("no connection within {} s", limit.as_secs_f64()))),
        };
        let request = self.request(body)?;
        let broke_off = |error: hyper::Error| Failure::again(format!("no answer: {}", in_words(&error)));
        let handshake =
            http1::Builder::new().max_buf_size(HEAD_BYTES).max_headers(HEADERS).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broke_off)?;
        // Its end comes as an error to whoever reads.
        let _driver = Driver(tokio::spawn(async move { _ = connection.await }));
        let answer = sender.send_request(request).await.map_err(broke_off)?;
        let status = answer.status();
        // Also of a good answer, as far as that is quick: hanging up on somebody who writes reads as an error there.
        let mut start = Vec::new();
        _ = timeout(self.limits.body, read(answer.into_body(), &mut start)).await;
        if status.is_success() { Ok(()) } else { Err(self.refused(status, &start)) }
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::post(&*self.target.path)
            .header(HOST, &*self.target.authority)
            .header(USER_AGENT, concat!("heapward/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close");
        if let Some(authorization) = &self.target.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| Failure { words: error.to_string(), is_final: true })
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let mut words = format!("answered {}", status.as_u16());
        if status.is_redirection() {
            words.push_str(", a redirect, and none is followed");
        }
        // An answer can repeat the question, with what nobody else may know: a password, or the key that a path or a query is
        // or has in it. Alertmanager's own path has none where nothing stands before or behind it.
        let is_plain = ["/", super::alertmanager::PATH].contains(&&*self.target.path);
        if self.target.authorization.is_none() && is_plain {
            let body = String::from_utf8_lossy(body);
            let printable = body.chars().map(|c| if c.is_control() { ' ' } else { c });
            let excerpt: String = printable.take(EXCERPT_CHARS).collect();
            if !excerpt.trim().is_empty() {
                words.push_str(&format!(": {}", excerpt.trim()));
            }
        }
        let passes =
            matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
        Failure { words, is_final: !(passes || status.is_server_error()) }
    }

    async fn connect(&mut self) -> io::Result<TcpStream> {
        let addresses = self.addresses().await?;
        // So that one that does not answer leaves time for the next.
        let each = self.limits.connect / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(each, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.target.host.parse::<IpAddr>() {
            return Ok(vec![(address, self.target.port).into()]);
        }
        let lookup = self.lookup.get_or_insert_with(|| {
            let name = (self.target.host.clone(), self.target.port);
            tokio::task::spawn_blocking(move || (&*name.0, name.1).to_socket_addrs().map(Iterator::collect))
        });
        let found = lookup.await;
        self.lookup = None;
        found.map_err(io::Error::other)?
    }
}

/// Ends a connection when nobody wants it any more.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the start of a body.
async fn read(mut body: Incoming, start: &mut Vec<u8>) {
    let mut left = BODY_BYTES;
    while left > 0
        && let Some(Ok(frame)) = body.frame().await
    {
        let Some(data) = frame.data_ref() else { continue };
        left = left.saturating_sub(data.len());
        let room = (4 * EXCERPT_CHARS).saturating_sub(start.len());
        start.extend(data.iter().take(room));
    }
}

/// An error with its causes: hyper's own words leave them out.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
