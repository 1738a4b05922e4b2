//! A server on a socket file.

mod common_http;

use std::fs::{self, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use common_http::{Client, heapward_threads};
use heapward::{ByteSize, ErrorKind, Profiler};

heapward::install!();

#[test]
fn a_socket_file_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heapward.sock");
    it_is_private_and_served(&path);
    a_stale_one_is_replaced(&path);
    a_live_one_is_left_alone(&folder.path().join("live.sock"));
    a_busy_one_is_left_alone(&folder.path().join("busy.sock"));
    what_is_no_socket_is_left_alone(folder.path());
    what_somebody_else_put_there_is_not_removed(&path);
    a_forked_child_leaves_it_to_its_parent(&path);
    assert_eq!(heapward_threads(), [""; 0]);
}

fn start(path: &Path) -> heapward::Result<Profiler> {
    Profiler::builder()
        .profiles_dir("off")
        .listen(&format!("unix:{}", path.display()))
        .rss_threshold(ByteSize::mib(1 << 20))
        .start()
}

fn at(path: &Path) -> Metadata {
    fs::symlink_metadata(path).unwrap()
}

fn it_is_private_and_served(path: &Path) {
    let profiler = start(path).unwrap();
    assert!(at(path).file_type().is_socket());
    assert_eq!(at(path).permissions().mode() & 0o7777, 0o600);
    assert_eq!(profiler.address(), None, "there is no TCP address");

    let client = Client::Unix(path.to_owned());
    assert_eq!(client.get("/healthz").expect(200).text(), "ok\n");
    client.send("POST", "/api/snapshots", &[]).expect(201);
    assert_eq!(client.get("/api/snapshots/latest").expect(200).json()["id"], 1);
    client.get("/debug/pprof/heap").expect(200).profile();
    // Web pages cannot reach a socket file, and programs send any name as its host.
    client.get_with("/healthz", &[("Host", "heapward.sock")]).expect(200);

    profiler.shutdown();
    assert!(!path.exists(), "removed at shutdown");
}

fn a_stale_one_is_replaced(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    let stale = at(path);
    let profiler = start(path).unwrap();
    // The inode's number may be used again at once, but the mode tells.
    assert_ne!(stale.permissions().mode() & 0o7777, 0o600);
    assert_eq!(at(path).permissions().mode() & 0o7777, 0o600);
    Client::Unix(path.to_owned()).get("/healthz").expect(200);
    profiler.shutdown();
    assert!(!path.exists());
}

#[track_caller]
fn refused(path: &Path, why: &str) {
    let error = start(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let text = error.to_string();
    let given = format!("unix:{}", path.display());
    for words in ["HEAPWARD_LISTEN", &given, "which cannot be bound", "or `off`", why] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(heapward_threads(), [""; 0]);
    common_http::assert_the_host_allocates();
}

fn a_live_one_is_left_alone(path: &Path) {
    let live = UnixListener::bind(path).unwrap();
    let before = at(path);
    refused(path, "another program listens there");
    assert_eq!(at(path).ino(), before.ino());
    // It can still be connected to: the first connection in the queue is heapward's question whether it lives.
    let _client = UnixStream::connect(path).unwrap();
    live.accept().unwrap();
    live.accept().unwrap();
}

/// One that is alive and takes no connections must not hang the service's start.
fn a_busy_one_is_left_alone(path: &Path) {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
    let socket =
        || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("a socket");
    let address = SocketAddrUnix::new(path).unwrap();
    let busy = socket();
    bind(&busy, &address).unwrap();
    listen(busy.as_fd(), 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = socket();
        let full = connect(&client, &address).is_err();
        waiting.push(client);
        if full {
            break;
        }
        assert!(waiting.len() < 100, "the backlog must be full some time");
    }
    refused(path, "another program listens there");
    assert!(path.exists());
}

fn what_is_no_socket_is_left_alone(folder: &Path) {
    let file = folder.join("file");
    fs::write(&file, "precious").unwrap();
    refused(&file, "a file that is no socket is there");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let link = folder.join("link");
    symlink(&file, &link).unwrap();
    refused(&link, "a file that is no socket is there");
    assert!(at(&link).is_symlink());

    refused(folder, "a file that is no socket is there");
    refused(&file.join("below"), "Not a directory");
    refused(&folder.join("missing/heapward.sock"), "No such file or directory");
    refused(&folder.join("x".repeat(200)), "name too long");
}

fn what_somebody_else_put_there_is_not_removed(path: &Path) {
    let profiler = start(path).unwrap();
    fs::rename(path, path.with_extension("away")).unwrap();
    fs::write(path, "precious").unwrap();
    profiler.shutdown();
    assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    fs::remove_file(path).unwrap();
}

fn a_forked_child_leaves_it_to_its_parent(path: &Path) {
    let profiler = start(path).unwrap();
    // SAFETY: the child drops the profiler, which takes no lock in a child, and ends without running anything else.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(profiler);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(0) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: `status` is a valid place for the exit status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child ended well");

    assert!(path.exists());
    Client::Unix(path.to_owned()).get("/healthz").expect(200);
    profiler.shutdown();
    assert!(!path.exists());
}
