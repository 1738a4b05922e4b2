//! `HEAPWARD_ENABLED=false`: nothing starts, and the host's calls say so.

mod common_http;

use std::net::TcpListener;
use std::process::Command;

use common_http::{ask, assert_the_host_allocates, free_port, heapward_threads, is_listening};
use heapward::{ErrorKind, Profiler, Selector};

heapward::install!();

#[test]
fn switched_off_it_starts_nothing() {
    if std::env::var_os("HEAPWARD_ENABLED").is_some() {
        return in_a_process_where_it_is_off();
    }
    let port = free_port();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["switched_off_it_starts_nothing", "--exact", "--nocapture"])
        .env("HEAPWARD_ENABLED", "false")
        .env("HEAPWARD_LISTEN", format!("127.0.0.1:{port}"))
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

fn in_a_process_where_it_is_off() {
    let listen = std::env::var("HEAPWARD_LISTEN").expect("the parent sets it");
    let port: u16 = listen.rsplit(':').next().unwrap().parse().unwrap();
    let profiler = heapward::start().unwrap();
    assert!(!profiler.is_enabled());
    assert_eq!(profiler.address(), None);
    assert_eq!(heapward_threads(), [""; 0]);
    assert!(!is_listening(port));
    TcpListener::bind(&listen).expect("the port is the host's");
    // SAFETY: `prof.active` is a bool.
    let is_sampling: bool = unsafe { tikv_jemalloc_ctl::raw::read(b"prof.active\0") }.unwrap();
    assert!(!is_sampling);
    assert_the_host_allocates();

    for refused in [
        profiler.snapshot().err(),
        profiler.live_heap_prof().err(),
        profiler.heap_prof(Selector::Latest).err(),
        profiler.top(Selector::Latest, 1).err(),
        profiler.pause().err(),
        profiler.resume().err(),
    ] {
        let error = refused.expect("must be refused");
        assert_eq!(error.kind(), ErrorKind::NotRunning);
        assert!(error.to_string().contains("HEAPWARD_ENABLED=false"), "{error}");
    }
    assert!(profiler.snapshots().is_empty());
    assert!(profiler.last_decision().contains("switched off"), "{}", profiler.last_decision());

    routes_of_one_that_is_off(&profiler);

    // It takes no slot: nothing runs.
    let second = Profiler::builder().profiles_dir("off").start().unwrap();
    assert!(!second.is_enabled());
    second.shutdown();
    profiler.shutdown();
    assert_eq!(heapward_threads(), [""; 0]);
}

fn routes_of_one_that_is_off(profiler: &Profiler) {
    let routes = profiler.routes();
    for (path, is_pprofs) in [
        ("/", false),
        ("/healthz", false),
        ("/metrics", false),
        ("/api/snapshots", false),
        ("/api/snapshots/latest/heap.prof", false),
        ("/nothing", false),
        ("/debug/pprof/heap", true),
    ] {
        let reply = ask(&routes, "GET", path).expect(503);
        assert!(reply.error().contains("HEAPWARD_ENABLED=false"), "{path}: {reply:?}");
        assert_eq!(reply.header("x-go-pprof").is_some(), is_pprofs, "{path}");
    }
    ask(&routes, "POST", "/api/snapshots").expect(503);

    // Merged with a host's own filters, it takes none of their paths, also not when it is off.
    let reply = |path: &str| {
        use warp::{Filter as _, Reply as _};
        let host = routes.filter().map(warp::reply::Reply::into_response);
        let host = host.or(warp::path("orders").map(|| "orders".into_response())).unify();
        let request = http::Request::builder().uri(path).body(String::new()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(tower_service::Service::call(&mut warp::service(host), request)).unwrap().status()
    };
    assert_eq!(reply("/api/memory"), 503);
    assert_eq!(reply("/orders"), 200);
    assert_eq!(reply("/nothing"), 404);
}
