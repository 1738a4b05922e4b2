//! Clients that connect and do nothing must not take the host's file descriptors, nor the server from others.

mod common_http;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common_http::{Client, PATIENCE, wait_for};
use heapward::Profiler;

heapward::install!();

/// More than the server takes at once, and fewer than the kernel lets wait.
const CROWD: usize = 150;
/// What it takes at once.
const CONNECTIONS: usize = 64;

#[test]
fn a_crowd_is_kept_waiting() {
    let profiler = Profiler::builder().profiles_dir("off").listen("127.0.0.1:0").start().unwrap();
    let address = profiler.address().unwrap();
    let client = Client::Tcp(address);
    let open_sockets = || open_sockets(address.port());
    let before = open_sockets();
    client.get("/healthz").expect(200);
    wait_for("the connection to be closed", || (open_sockets() == before).then_some(()));

    let begun = Instant::now();
    let mut crowd: Vec<TcpStream> = (0..CROWD)
        .map(|index| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&b"GET /healthz HTTP/1.1\r\nHost: local"[..index % 30]).unwrap();
            stream
        })
        .collect();
    // Its end of a connection is a socket of this process, as is the client's.
    let taken = || open_sockets() - before - CROWD;
    wait_for("the server to take as many as it does", || (taken() >= CONNECTIONS).then_some(()));
    for _ in 0..20 {
        assert_eq!(taken(), CONNECTIONS, "and no more");
        std::thread::sleep(Duration::from_millis(10));
    }

    // The first are cut, and whoever waits behind the crowd has a turn.
    let mut rest = Vec::new();
    crowd[0].read_to_end(&mut rest).expect("cut, and not left open");
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    drop(crowd);
    client.get("/healthz").expect(200);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    wait_for("all to be closed", || (open_sockets() == before).then_some(()));

    // So with a body that is announced and does not come.
    let begun = Instant::now();
    let head = b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n0x1+";
    let answer = client.send_raw(head);
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    wait_for("it to be closed", || (open_sockets() == before).then_some(()));
    profiler.shutdown();
}

/// Ends of connections to `port` that a process holds: what the kernel still waits with, before or after, has no inode.
fn open_sockets(port: u16) -> usize {
    const LISTEN: &str = "0A";
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, .., inode] = fields[..10] else { return false };
        (local.ends_with(&port) || remote.ends_with(&port)) && state != LISTEN && inode != "0"
    };
    table.lines().skip(1).filter(is_open).count()
}
