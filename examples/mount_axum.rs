//! heapward inside a service's own axum server, instead of on a port of its own.
//!
//! ```text
//! cargo run --example mount_axum                  until Ctrl-C
//! cargo run --example mount_axum -- --seconds 20  ends by itself
//! ```
//!
//! Then open <http://127.0.0.1:3000/heap/>, or `go tool pprof -top http://127.0.0.1:3000/heap/debug/pprof/heap`.
//! The service itself answers at <http://127.0.0.1:3000/hello>.
//!
//! Whoever reaches the service reaches `/heap` as well: set `HEAPWARD_TOKEN` where that is not for everybody.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use heapward::Profiler;

heapward::install!();

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = seconds_from_arguments()?;
    let mut router = Router::new().route("/hello", get(|| async { "hello\n" }));

    // `off`: no port of its own. An error is worth a line in the log, not an outage.
    let profiler = Profiler::builder().listen("off").start();
    match &profiler {
        Ok(profiler) => router = router.nest_service("/heap", profiler.routes().service()),
        Err(error) => eprintln!("no heap profiles: {error}"),
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("the service  http://127.0.0.1:3000/hello");
    println!("its heap     http://127.0.0.1:3000/heap/");
    axum::serve(listener, router).with_graceful_shutdown(end(seconds)).await?;
    Ok(())
}

/// Ends after that many seconds, or with Ctrl-C.
async fn end(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => tokio::signal::ctrl_c().await.expect("Ctrl-C can be waited for"),
    }
}

fn seconds_from_arguments() -> Result<Option<u64>, String> {
    let usage = || "usage: mount_axum [--seconds N]".to_owned();
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(None),
        (Some("--seconds"), Some(number), None) => number.parse().map(Some).map_err(|_| usage()),
        _ => Err(usage()),
    }
}
