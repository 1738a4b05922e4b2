//! A program that sets jemalloc up by itself, with the profiler off.

mod common_http;

use std::process::Command;

use common_http::{Client, assert_the_host_allocates, free_port, heapward_threads, is_listening};
use heapward::{ErrorKind, Profiler};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 11] = b"prof:false\0";
#[unsafe(export_name = "_rjem_malloc_conf")]
static RJEM_MALLOC_CONF: &[u8; 11] = MALLOC_CONF;

#[test]
fn the_fix_that_is_named_works() {
    if std::env::var_os("MALLOC_CONF").is_some() {
        return with_the_fix();
    }
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let error = Profiler::builder().listen(&listen).profiles_dir(folder.path()).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Allocator);
        let text = error.to_string();
        for words in ["opt.prof is false", "says \"prof:false\"", "heapward::install!();", "MALLOC_CONF=prof:true"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(heapward_threads(), [""; 0]);
        assert!(!is_listening(port));
        assert_the_host_allocates();
    }
    let socket = folder.path().join("heapward.sock");
    Profiler::builder().listen(&format!("unix:{}", socket.display())).start().unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no socket file is left, nor anything else");

    // The second fix of the message; the first is what all other tests do.
    let fix = "prof:true,prof_active:false";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["the_fix_that_is_named_works", "--exact", "--nocapture"])
        .env("MALLOC_CONF", fix)
        .env("_RJEM_MALLOC_CONF", fix)
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

fn with_the_fix() {
    let profiler = Profiler::builder().listen("127.0.0.1:0").start().unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    client.send("POST", "/api/snapshots", &[]).expect(201);
    client.get("/debug/pprof/heap").expect(200).profile();
    profiler.shutdown();
}
