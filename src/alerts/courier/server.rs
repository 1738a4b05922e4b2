//! Servers that misbehave, each on a thread of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server does with a connection: reads the request, and answers or does not.
pub(super) type Behaviour = Box<dyn FnMut(&mut Conversation<'_>) + Send>;

/// One connection.
pub(super) struct Conversation<'s> {
    pub(super) stream: TcpStream,
    /// From 1 on.
    pub(super) number: u64,
    server: &'s Heard,
}

/// What was heard.
#[derive(Debug, Default)]
struct Heard {
    requests: Mutex<Vec<String>>,
    /// Written by the server before the other side hung up.
    written: AtomicU64,
}

/// A server on loopback, for as long as the test runs.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    heard: Arc<Heard>,
}

impl Server {
    pub(super) fn start(mut behave: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Heard::default());
        let server = Arc::clone(&heard);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming()) {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                behave(&mut Conversation { stream, number, server: &server });
            }
        });
        Self { address, heard }
    }

    /// Answers every request with this.
    pub(super) fn answering(answer: &'static str) -> Self {
        Self::start(Box::new(move |conversation| {
            conversation.request();
            conversation.write(answer.as_bytes());
        }))
    }

    /// All requests so far, head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.heard.requests.lock().unwrap().clone()
    }

    pub(super) fn written(&self) -> u64 {
        self.heard.written.load(Ordering::Relaxed)
    }
}

impl Conversation<'_> {
    /// Reads a whole request, and notes it.
    pub(super) fn request(&mut self) -> String {
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let got = self.stream.read(&mut buffer).unwrap_or(0);
            request.extend_from_slice(&buffer[..got]);
            let text = String::from_utf8_lossy(&request);
            if got == 0 || text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= length(head)) {
                self.server.requests.lock().unwrap().push(text.clone().into_owned());
                return text.into_owned();
            }
        }
    }

    /// Writes, unless the other side has hung up; false then.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => {
                self.server.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                true
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                false
            }
        }
    }

    /// Says nothing until the other side hangs up.
    pub(super) fn hang(&mut self) {
        let mut buffer = [0; 4096];
        while self.stream.read(&mut buffer).is_ok_and(|got| got > 0) {}
    }
}

fn length(head: &str) -> usize {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    };
    head.lines().find_map(field).unwrap_or(0)
}
