//! A tokio service under load, every kibibyte or so sampled, each stack walked by the unwinder in use and by libgcc's:
//! they give the same stack. In a release build this is what services run.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

mod common;

use common::{fail_fast, profiler, set_sampled, step};

heapward::install!("lg_prof_sample:10");

const STACKS: u64 = 10_000;

#[test]
fn the_unwinder_in_use_gives_libgccs_stacks() {
    fail_fast();
    let profiler = profiler().start().unwrap();
    let before = profiler.compared_unwinders();
    println!("in use: {}", before.name);
    if std::env::var_os("HEAPWARD_UNWINDER").is_none() {
        assert_ne!(before.name, "jemalloc", "an unwinder of our own passes its self-test");
    }
    profiler.compare_unwinders().unwrap();
    step("serving");
    serve_until(|| profiler.compared_unwinders().walks >= STACKS);
    set_sampled(false);
    let compared = profiler.compared_unwinders();
    let share = compared.equal as f64 / compared.walks as f64;
    println!(
        "{}: {} of {} stacks are libgcc's ({:.3}%), {:.1} frames on average",
        compared.name,
        compared.equal,
        compared.walks,
        share * 100.0,
        compared.frames as f64 / compared.walks as f64
    );
    assert!(share >= 0.999, "{compared:x?}");
    assert!(compared.frames / compared.walks > 10, "stacks of some depth: {compared:?}");
    profiler.shutdown();
}

/// A small service: requests over TCP, tasks, channels, timers, blocking work.
fn serve_until(is_enough: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, mut lines) = mpsc::channel::<String>(64);
        let logger = tokio::spawn(async move {
            let mut last: Vec<String> = Vec::new();
            while let Some(line) = lines.recv().await {
                last.push(line);
                if last.len() > 500 {
                    last.sort_by_key(|line| line.len());
                    last.clear();
                }
            }
        });
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(answer(stream, log.clone()));
            }
        });
        let mut round = 0u64;
        while !is_enough() {
            let clients: Vec<_> = (0..8).map(|client| tokio::spawn(ask(address, round * 8 + client))).collect();
            for client in clients {
                client.await.unwrap();
            }
            round += 1;
        }
        server.abort();
        let _ = server.await;
        let _ = logger.await;
    });
}

async fn ask(address: std::net::SocketAddr, number: u64) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    for request in 0..10 {
        let text = format!("{} {}\n", number, "word ".repeat((request % 7 + 1) as usize));
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with('{'), "{line}");
    }
}

async fn answer(stream: TcpStream, log: mpsc::Sender<String>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while let Ok(1..) = stream.read_line(&mut line).await {
        let (reply, answer) = oneshot::channel();
        let words = line.clone();
        tokio::spawn(async move {
            let counted = tokio::task::spawn_blocking(move || count(&words)).await.unwrap();
            let _ = reply.send(counted);
        });
        let counted = answer.await.unwrap();
        let body = serde_json::to_string(&counted).unwrap() + "\n";
        let _ = log.send(format!("{} bytes for {line:?}", body.len())).await;
        if tokio::time::timeout(Duration::from_secs(10), stream.write_all(body.as_bytes())).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn count(text: &str) -> BTreeMap<String, usize> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    let nested: Vec<Vec<String>> = counts.keys().map(|word| word.chars().map(|c| c.to_string()).collect()).collect();
    nested.iter().map(|parts| (parts.concat(), parts.len())).collect()
}
