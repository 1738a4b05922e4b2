//! HTTP/1.1 over a plain socket, and waiting on conditions: what the live tests share.
#![allow(dead_code)] // Each test uses a part of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pprof::protos::{self, Message};

/// How long anything may take. Long, because it is reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens.
#[derive(Clone)]
pub enum Client {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

impl Client {
    pub fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[])
    }

    pub fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", target, headers)
    }

    pub fn post(&self, target: &str, body: &str) -> Reply {
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let raw = self.send_raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        Reply::parse(&raw, false).unwrap_or_else(|| panic!("POST {target}: no HTTP: {raw:?}"))
    }

    /// Sends a request and reads the answer. `Host` is localhost where `headers` has none.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let raw = self.send_raw(request.as_bytes());
        Reply::parse(&raw, method == "HEAD").unwrap_or_else(|| panic!("{method} {target}: no HTTP: {raw:?}"))
    }

    /// Sends bytes as they are and reads until the server closes.
    pub fn send_raw(&self, request: &[u8]) -> Vec<u8> {
        let mut connection: Box<dyn Connection> = match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE).expect("the server listens");
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).expect("the server listens");
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
        };
        connection.write_all(request).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("the server answers and closes");
        answer
    }
}

impl Reply {
    pub fn parse(raw: &[u8], is_head: bool) -> Option<Self> {
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&raw[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())))
            .collect::<Option<_>>()?;
        let reply = Self { status, headers, body: raw[end + 4..].to_vec() };
        let length: usize = reply.header("content-length")?.parse().ok()?;
        assert_eq!(reply.body.len(), if is_head { 0 } else { length }, "the body is as long as it says");
        Some(reply)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    #[track_caller]
    pub fn profile(&self) -> protos::Profile {
        decode(&self.body)
    }

    /// The text of a refusal, whichever form it has.
    #[track_caller]
    pub fn error(&self) -> String {
        match self.header("content-type") {
            Some("application/json") => self.json()["error"].as_str().expect("an error").to_owned(),
            _ => self.text().to_owned(),
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "every answer has it");
        self
    }
}

/// How many requests wait for time to pass.
pub fn waiting(client: &Client) -> u64 {
    client.get("/api/memory").expect(200).json()["watcher"]["waiting_requests"].as_u64().expect("a number")
}

/// A gzipped profile.proto.
#[track_caller]
pub fn decode(gzipped: &[u8]) -> protos::Profile {
    assert_eq!(gzipped.get(..2), Some(&[0x1f, 0x8b][..]), "gzip's magic");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut bytes).expect("gzip");
    protos::Profile::decode(bytes.as_slice()).expect("profile.proto")
}

/// A string of the profile's table.
pub fn string(profile: &protos::Profile, index: i64) -> &str {
    &profile.string_table[index as usize]
}

/// Names of all functions in the profile.
pub fn functions(profile: &protos::Profile) -> Vec<&str> {
    profile.function.iter().map(|function| string(profile, function.name)).collect()
}

/// Sum of each sample type over the samples with a function whose name contains `name`.
pub fn values_at(profile: &protos::Profile, name: &str) -> [i64; 4] {
    let ids = |function: &&protos::Function| string(profile, function.name).contains(name).then_some(function.id);
    let functions: Vec<u64> = profile.function.iter().filter_map(|function| ids(&function)).collect();
    let locations: Vec<u64> = profile
        .location
        .iter()
        .filter(|location| location.line.iter().any(|line| functions.contains(&line.function_id)))
        .map(|location| location.id)
        .collect();
    let mut sums = [0; 4];
    for sample in &profile.sample {
        if sample.location_id.iter().any(|id| locations.contains(id)) {
            sums.iter_mut().zip(&sample.value).for_each(|(sum, value)| *sum += value);
        }
    }
    sums
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Names of this process' threads that are heapward's and stay. One that has ended and was joined is still listed for a
/// moment: the kernel lets the joining thread go on first.
pub fn heapward_threads() -> Vec<String> {
    // Long enough for a busy machine, too short for one that nobody waited for.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let names: Vec<String> = thread_names().into_iter().filter(|name| name.starts_with("heapward")).collect();
        if names.is_empty() || Instant::now() > deadline {
            return names;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Names of this process' threads.
pub fn thread_names() -> Vec<String> {
    let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        // A thread may end between being listed and being read.
        let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        Some(name.trim().to_owned())
    });
    names.collect()
}

/// A loopback port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Whether somebody listens on that port, on any address.
pub fn is_listening(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter(|table| Path::new(table).exists()).any(|table| {
        let table = std::fs::read_to_string(table).unwrap();
        table.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace();
            let (local, state) = (fields.nth(1), fields.nth(1));
            // 0A is TCP_LISTEN of the kernel's net/tcp_states.h.
            state == Some("0A") && local.is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
        })
    })
}

/// What a host does while heapward cannot start: it goes on, and its memory is its own.
pub fn assert_the_host_allocates() {
    let blocks: Vec<Vec<u8>> = (0..256).map(|index| vec![index as u8; 16 * 1024]).collect();
    assert!(std::hint::black_box(&blocks).iter().enumerate().all(|(index, block)| block[index] == index as u8));
}

/// Asks routes that no server has mounted, as axum would.
pub fn ask(routes: &heapward::Routes, method: &str, target: &str) -> Reply {
    use http_body_util::BodyExt as _;
    use tower_service::Service as _;

    let request =
        http::Request::builder().method(method).uri(target).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (head, body) = runtime.block_on(async {
        let (head, body) = routes.service().call(request).await.unwrap().into_parts();
        (head, body.collect().await.unwrap().to_bytes().to_vec())
    });
    let header =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
    Reply { status: head.status.as_u16(), headers: head.headers.iter().map(header).collect(), body }
}
