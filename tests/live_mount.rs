//! heapward's routes in a host's own servers: as a tower service in axum, as a filter in warp.

mod common_http;

use std::future::Future;
use std::hint::black_box;
use std::net::{SocketAddr, TcpListener};

use common_http::{Client, heapward_threads, values_at, wait_for};
use heapward::{ByteSize, Profiler, Routes};
use tokio::sync::oneshot;
use warp::Filter as _;

heapward::install!("lg_prof_sample:12");

#[test]
fn routes_work_in_a_host_s_own_servers() {
    let start = || Profiler::builder().profiles_dir("off").listen("off").rss_threshold(ByteSize::mib(1 << 20));
    let profiler = start().start().unwrap();
    assert_eq!(profiler.address(), None);
    let held = leak_sessions();
    let (axum, warp) = (Host::axum(profiler.routes()), Host::warp(profiler.routes()));

    // First, while no name has been looked up yet.
    building_a_profile_does_not_stop_the_host(&axum.client);
    for host in [&axum, &warp] {
        every_endpoint_is_below_the_mount(&host.client);
        the_host_keeps_its_own_paths(&host.client);
    }
    drop(held);
    profiler.shutdown();
    for host in [&axum, &warp] {
        one_that_was_shut_down_says_so(&host.client);
    }
    drop((axum, warp));

    let profiler = start().token("secret").start().unwrap();
    for host in [Host::axum(profiler.routes()), Host::warp(profiler.routes()), Host::merged(profiler.routes())] {
        a_token_guards_what_is_heapward_s_and_nothing_else(&host);
    }
    profiler.shutdown();
    assert_eq!(heapward_threads(), [""; 0]);
}

#[inline(never)]
fn leak_sessions() -> Vec<Vec<u8>> {
    (0..512).map(|_| black_box(vec![1; 16 * 1024])).collect()
}

/// A server of the host's, with one thread, until it is dropped.
struct Host {
    client: Client,
    /// Where heapward is mounted.
    mount: &'static str,
    _stop: oneshot::Sender<()>,
}

impl Host {
    fn axum(routes: Routes) -> Self {
        Self::serve("/heap", move |listener| async move {
            let router = axum::Router::new()
                .route("/orders", axum::routing::get(|| async { "orders" }))
                .nest_service("/heap", routes.service());
            axum::serve(listener, router).await.unwrap();
        })
    }

    fn warp(routes: Routes) -> Self {
        Self::serve("/heap", move |listener| async move {
            let heap = warp::path("heap").and(routes.filter());
            let orders = warp::path!("orders").map(|| "orders");
            warp::serve(heap.or(orders)).incoming(listener).run().await;
        })
    }

    /// Without a path of its own, beside the host's routes.
    fn merged(routes: Routes) -> Self {
        Self::serve("", move |listener| async move {
            let orders = warp::path!("orders").map(|| "orders");
            warp::serve(routes.filter().or(orders)).incoming(listener).run().await;
        })
    }

    fn serve<F: Future<Output = ()>>(
        mount: &'static str,
        serve: impl FnOnce(tokio::net::TcpListener) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { client: Client::Tcp(address), mount, _stop: stop }
    }
}

/// The host has one thread: were profiles built on it, nobody else would be answered meanwhile.
fn building_a_profile_does_not_stop_the_host(client: &Client) {
    let idle = renderers_time();
    let building = std::thread::spawn({
        let client = client.clone();
        move || client.get("/heap/debug/pprof/heap").expect(200)
    });
    wait_for("the profile to be begun", || (renderers_time() > idle).then_some(()));
    // Asked and answered while it was built, however long either takes.
    let mut answered = 0;
    while !building.is_finished() {
        assert_eq!(client.get("/orders").text(), "orders");
        answered += u32::from(!building.is_finished());
    }
    building.join().unwrap();
    // Of a host that is stopped, the one that waited may seem to be answered just before, and not a second one.
    assert!(answered >= 2, "the host answered {answered} times while a profile was built");
}

/// For how long the thread that builds profiles has run: it is nobody else who does it. Nanoseconds.
fn renderers_time() -> u64 {
    let mut threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let is_renderer = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "heapward-render")
    };
    let renderer = threads.find(is_renderer).expect("a thread that builds profiles");
    let stat = std::fs::read_to_string(renderer.join("schedstat")).unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

fn every_endpoint_is_below_the_mount(client: &Client) {
    wait_for("a snapshot on request", || {
        let reply = client.send("POST", "/heap/api/snapshots", &[]);
        (reply.status != 429).then(|| reply.expect(201))
    });
    client.send("POST", "/heap/api/snapshots", &[]).expect(429).header("retry-after").expect("Retry-After");
    for (path, content_type) in [
        ("/heap", "text/html; charset=utf-8"),
        ("/heap/", "text/html; charset=utf-8"),
        ("/heap/api/snapshots", "application/json"),
        ("/heap/api/snapshots/latest", "application/json"),
        ("/heap/api/snapshots/latest/heap.prof", "application/octet-stream"),
        ("/heap/api/snapshots/latest/top", "application/json"),
        ("/heap/api/memory", "application/json"),
        ("/heap/debug/pprof/", "text/html; charset=utf-8"),
        ("/heap/debug/pprof/heap", "application/octet-stream"),
        ("/heap/api/snapshots/latest/folded", "text/plain; charset=utf-8"),
        ("/heap/debug/pprof/allocs", "application/octet-stream"),
        ("/heap/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/heap/healthz", "text/plain; charset=utf-8"),
    ] {
        let reply = client.get(path).expect(200);
        assert_eq!(reply.header("content-type"), Some(content_type), "{path}");
        assert_eq!(client.send("HEAD", path, &[]).expect(200).header("content-type"), Some(content_type), "{path}");
        // Which names the host's server has is the host's to know.
        client.get_with(path, &[("Host", "service.example.org")]).expect(200);
    }
    let page = client.get("/heap/");
    assert!(page.text().contains("href=\"api/snapshots\""), "links are relative to the mount: {}", page.text());
    let profile = client.get("/heap/debug/pprof/heap").profile();
    assert!(values_at(&profile, "leak_sessions")[3] > 4 << 20);

    // Bodies come through, up to a bound, and a host needs no timer for what takes its time.
    let address = leak_sessions as *const () as usize;
    let symbol = client.post("/heap/debug/pprof/symbol", &format!("{address:#x}")).expect(200);
    assert!(symbol.text().ends_with("live_mount::leak_sessions\n"), "{}", symbol.text());
    client.post("/heap/debug/pprof/symbol", &"0x1+".repeat(300_000)).expect(413);
    let delta = client.get("/heap/debug/pprof/heap?seconds=1").expect(200).profile();
    assert!(delta.duration_nanos >= 1_000_000_000);

    // Parameters and errors come through as well.
    let top = client.get("/heap/api/snapshots/latest/top?n=1").expect(200).json();
    assert_eq!(top["top"].as_array().unwrap().len(), 1);
    let error = client.get("/heap/api/snapshots/latest/top?n=0").expect(400).error();
    assert!(error.contains("`n` is `0`"), "{error}");
    client.get("/heap/api/snapshots/99").expect(404);
    client.get("/heap/debug/pprof/heap?debug=x").expect(400).header("x-go-pprof").expect("pprof shows its user why");
    client.send("PUT", "/heap/metrics", &[]).expect(405);
}

fn the_host_keeps_its_own_paths(client: &Client) {
    assert_eq!(client.get("/orders").text(), "orders");
    for path in ["/heap/nothing", "/heap/heap/metrics", "/heaps", "/nothing", "/metrics", "/api/snapshots", "/"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

fn one_that_was_shut_down_says_so(client: &Client) {
    for path in ["/heap/", "/heap/metrics", "/heap/healthz", "/heap/api/memory", "/heap/debug/pprof/heap"] {
        let error = client.get(path).expect(503).error();
        assert!(error.contains("has been shut down"), "{path}: {error}");
    }
    assert_eq!(client.get("/orders").text(), "orders");
}

fn a_token_guards_what_is_heapward_s_and_nothing_else(host: &Host) {
    let path = |path: &str| format!("{}{path}", host.mount);
    host.client.get(&path("/metrics")).expect(401);
    host.client.get_with(&path("/metrics"), &[("Authorization", "Bearer secret")]).expect(200);
    host.client.send("POST", &path("/api/snapshots"), &[]).expect(401);
    assert_eq!(host.client.get("/orders").text(), "orders");
    assert_eq!(host.client.get("/nothing").status, 404);
}
