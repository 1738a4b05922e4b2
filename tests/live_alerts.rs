//! Alerts from real readings to real sockets; and receivers that hang, close, refuse and send without end, beside a watcher that
//! goes on as if nothing was.

mod common_http;
#[path = "../src/alerts/courier/server.rs"]
mod server;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common_http::{Client, wait_for};
use heapward::{AlertChange, AlertDeliveries, AlertState, Builder, ByteSize, Profiler};
use serde_json::Value;
use server::{Behaviour, Server};

// Freed pages go back at once, so that RSS falls when the host frees.
heapward::install!("lg_prof_sample:16,dirty_decay_ms:0,muzzy_decay_ms:0");

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const POLL: Duration = Duration::from_millis(10);
/// Far above what looking names up takes for a moment.
const THRESHOLD: ByteSize = ByteSize::mib(400);
const TALL: usize = 600 << 20;

#[test]
fn alerts_arrive_and_who_receives_them_holds_nobody_up() {
    one_episode_is_one_alert();
    receivers_hold_nobody_up();
    off_is_off();
}

#[inline(never)]
fn a_service_that_holds_too_much() -> Vec<Vec<u8>> {
    (0..TALL >> 20).map(|_| black_box(vec![1u8; 1 << 20])).collect()
}

fn builder() -> Builder {
    Profiler::builder()
        .listen("127.0.0.1:0")
        .profiles_dir("off")
        .poll_interval(POLL)
        .min_interval(Duration::from_millis(50))
}

fn json(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").expect("a head").1).expect("JSON")
}

fn deliveries(profiler: &Profiler, sink: &str) -> AlertDeliveries {
    let report = profiler.alerts().unwrap().expect("there are alerts");
    report.deliveries.into_iter().find(|deliveries| deliveries.sink == sink).expect("a receiver")
}

fn one_episode_is_one_alert() {
    let (webhook, alertmanager) = (Server::answering(OK), Server::answering(OK));
    let profiler = builder()
        .rss_threshold(ByteSize::mib(300))
        // At 20 a second, the one that an alert names would soon be given up, before anybody has looked at it.
        .history(1000)
        .alert_threshold(THRESHOLD)
        .alert_webhook(&format!("http://{}/hook", webhook.address))
        .alertmanager(&format!("http://{}", alertmanager.address))
        .alert_label("service", "test")
        .start()
        .unwrap();
    let client = Client::Tcp(profiler.address().unwrap());
    let report = || client.get("/api/alerts").expect(200).json();
    wait_for("a reading", || {
        report()["standing"].as_str().unwrap().starts_with("no alert: memory use is").then_some(())
    });
    assert_eq!((&report()["active"], report()["last"].as_array().unwrap().len()), (&Value::Null, 0));

    let tall = a_service_that_holds_too_much();
    let told = wait_for("an alert with its sites", || {
        let bodies: Vec<Value> = webhook.requests().iter().map(|request| json(request)).collect();
        bodies.into_iter().find(|body| !body["sites"].as_array().unwrap().is_empty())
    });
    assert_eq!(told["state"], "firing");
    let name = told["sites"][0]["function"].as_str().unwrap();
    assert!(name.contains("a_service_that_holds_too_much"), "{told:#}");
    assert!(told["sites"].as_array().unwrap().len() <= 3, "{told:#}");
    assert!(told["sites"][0]["bytes"].as_u64() > Some(TALL as u64 / 2), "{told:#}");
    assert_eq!(told["labels"]["service"], "test");
    assert!(told["message"].as_str().unwrap().contains("alert threshold of"), "{told:#}");
    assert!(told["leaks"]["summary"].is_string(), "{told:#}");
    // The snapshot is where it says.
    let place = told["snapshot_url"].as_str().unwrap().strip_prefix(&format!("http://{}", profiler.address().unwrap()));
    assert_eq!(client.get(place.expect("our own address")).expect(200).json()["id"], told["snapshot"]);

    let active = report();
    assert_eq!(active["active"]["id"], told["id"]);
    assert!(active["standing"].as_str().unwrap().starts_with("an alert, "), "{}", active["standing"]);
    assert_eq!(profiler.alerts().unwrap().unwrap().active.unwrap().state, AlertState::Firing);
    let severity = active["active"]["severity"].as_str().unwrap().to_owned();
    let metrics = client.get("/metrics").expect(200).text().to_owned();
    for line in [
        format!("heapward_alert_active{{severity=\"{severity}\"}} 1"),
        format!("heapward_alerts_total{{severity=\"{severity}\"}} 1"),
        "heapward_alert_deliveries_total{sink=\"webhook\",result=\"failed\"} 0".to_owned(),
    ] {
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }

    drop(tall);
    wait_for("its end", || (report()["active"] == Value::Null).then_some(()));
    let last = wait_for("its end to arrive", || {
        let last = json(webhook.requests().last()?);
        (last["state"] == "resolved").then_some(last)
    });
    assert_eq!((&last["id"], &last["change"]), (&told["id"], &"resolved".into()));
    assert!(last["peak_bytes"].as_u64() > Some(TALL as u64), "{last:#}");
    let ended = wait_for("its end to arrive there", || {
        let last = json(alertmanager.requests().last()?);
        (last[0]["annotations"]["summary"].as_str()?.contains("over after")).then_some(last)
    });
    assert_eq!(ended[0]["endsAt"], last["time"]);
    assert_eq!(ended[0]["labels"]["alertname"], "HeapwardMemoryUse");
    assert_eq!((&ended[0]["labels"]["severity"], &ended[0]["labels"]["service"]), (&severity.into(), &"test".into()));

    // Snapshots came all the while, and nobody was told of each.
    let bodies: Vec<Value> = webhook.requests().iter().map(|request| json(request)).collect();
    assert!(bodies.iter().all(|body| body["id"] == told["id"]), "{bodies:#?}");
    let count = |change: &str| bodies.iter().filter(|body| body["change"] == change).count();
    assert_eq!((count("opened"), count("resolved"), &bodies[0]["change"]), (1, 1, &"opened".into()), "{bodies:#?}");
    // With its evidence, and with the first snapshot of its own, whose evidence comes after it where that takes long.
    assert!(count("updated") <= 3, "{bodies:#?}");
    let report = profiler.alerts().unwrap().unwrap();
    assert_eq!((report.last.len(), report.last[0].change), (1, AlertChange::Resolved));
    assert_eq!(deliveries(&profiler, "webhook").to, Some(format!("http://{}", webhook.address)));
    assert!(deliveries(&profiler, "log").sent > 0);
    profiler.shutdown();
}

/// Receivers, each with whether it takes an alert in the end.
fn receivers() -> [(&'static str, bool, Behaviour); 8] {
    let endless = |status: &'static str| -> Behaviour {
        Box::new(move |conversation| {
            conversation.request();
            conversation.write(format!("HTTP/1.1 {status}\r\nContent-Length: 1073741824\r\n\r\n").as_bytes());
            let piece = [b'x'; 1 << 14];
            for _ in 0..1 << 16 {
                if !conversation.write(&piece) {
                    break;
                }
            }
        })
    };
    [
        ("hangs", false, Box::new(|conversation| conversation.hang())),
        ("closes", false, Box::new(|_| {})),
        ("sends a gigabyte", true, endless("200 OK")),
        ("refuses with a gigabyte", false, endless("500 Oops")),
        (
            "answers 500, then 200",
            true,
            Box::new(|conversation| {
                conversation.request();
                let status = if conversation.number == 1 { "500 Oops" } else { "200 OK" };
                conversation.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
            }),
        ),
        (
            "sends elsewhere, which is here",
            false,
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n");
            }),
        ),
        (
            "drips its head",
            false,
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"HTTP/1.1 200 OK\r\nX: ");
                while conversation.write(b"x") {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }),
        ),
        (
            "drips its body",
            true,
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
                while conversation.write(b"x") {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }),
        ),
    ]
}

fn receivers_hold_nobody_up() {
    for (what, takes_it, behave) in receivers() {
        let (bad, good) = (Server::start(behave), Server::answering(OK));
        let before = rss();
        let profiler = builder()
            .rss_threshold(ByteSize::gib(1 << 20))
            // Always above it.
            .alert_threshold(ByteSize::bytes(1))
            .alert_webhook(&format!("http://{}/hook", bad.address))
            .alertmanager(&format!("http://{}", good.address))
            .start()
            .unwrap();
        let client = Client::Tcp(profiler.address().unwrap());
        let watcher = || client.get("/api/memory").expect(200).json()["watcher"].clone();
        let polls = |watcher: &Value| watcher["polls"].as_u64().unwrap();
        wait_for("the other receiver's copy", || good.requests().first().cloned());
        let first = wait_for(what, || {
            let webhook = deliveries(&profiler, "webhook");
            (webhook.waiting > 0 || webhook.sent + webhook.failed > 0).then_some(webhook)
        });
        // That it began, and what is behind it.
        assert!(first.sent <= 2, "{what}: {first:?}");

        let (begun, from) = (Instant::now(), polls(&watcher()));
        let mut highest = 0;
        // Not how long all take, which is a matter of how busy the machine is: a watcher that waited for a receiver would miss
        // its polls for as long as that may take, which is two seconds for a body that drips, and ten for the others.
        let mut longest: f64 = 0.0;
        wait_for("two hundred polls", || {
            highest = highest.max(rss());
            let watcher = watcher();
            longest = longest.max(watcher["heartbeat_age_seconds"].as_f64().unwrap());
            (polls(&watcher) >= from + 200).then_some(())
        });
        let took = begun.elapsed();
        assert!(longest < 1.8, "{what}: no poll for {longest} s");
        let outcome = wait_for(what, || {
            highest = highest.max(rss());
            let webhook = deliveries(&profiler, "webhook");
            (if takes_it { webhook.sent > 0 } else { webhook.failed_attempts > 0 }).then_some(webhook)
        });
        assert_eq!(outcome.last_error.is_none(), takes_it && outcome.failed_attempts == 0, "{what}: {outcome:?}");
        assert!(highest.saturating_sub(before) < 48 << 20, "{what}: RSS {before}, then {highest}");
        assert!(bad.written() < 48 << 20, "{what}: {} written", bad.written());
        let begun = Instant::now();
        profiler.shutdown();
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: ended after {:?}", begun.elapsed());
        println!(
            "{what}: 200 polls in {took:?}, RSS at most {} KiB higher, {} KiB taken",
            highest.saturating_sub(before) >> 10,
            bad.written() >> 10
        );
    }
}

fn off_is_off() {
    let profiler = Builder::alert_threshold(builder(), ByteSize::bytes(1)).start().unwrap();
    // It gives itself its name, when it begins.
    wait_for("the thread of alerts", || {
        common_http::thread_names().contains(&"heapward-alerts".to_owned()).then_some(())
    });
    profiler.shutdown();
    // SAFETY: no other thread of this process reads the environment now.
    unsafe { std::env::set_var("HEAPWARD_ALERT_THRESHOLD", "off") };
    let profiler = builder().alert_threshold(ByteSize::bytes(1)).start().unwrap();
    assert!(profiler.alerts().unwrap().is_none());
    let client = Client::Tcp(profiler.address().unwrap());
    assert!(client.get("/api/alerts").expect(404).error().contains("HEAPWARD_ALERT_THRESHOLD is off"));
    assert!(!client.get("/metrics").expect(200).text().contains("heapward_alert"));
    profiler.shutdown();
}

fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
