use std::sync::atomic::{AtomicU64, Ordering};

use super::server::Server;
use super::*;
use crate::alerts::testing::{alarm, labels};
use crate::alerts::{AlertDeliveries, AlertSettings, AlertSite, Target};
use crate::analysis::Site;
use crate::policy::{AlertChange, Severity, Standing};
use AlertChange::{Opened, Raised, Resolved, Unchanged, Updated};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn pace() -> Pace {
    let millis = Duration::from_millis;
    Pace {
        limits: Limits { connect: millis(900), body: millis(500), total: millis(1000) },
        schedule: Schedule { first: millis(10), longest: millis(50), total: Duration::from_secs(60) },
        patience: Duration::from_secs(20),
        flush: millis(500),
    }
}

struct Service {
    desk: Arc<Desk>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Service {
    fn start(webhook: Option<String>, alertmanager: Option<String>) -> Self {
        // No sites to be had.
        Self::start_with(webhook, alertmanager, pace(), |_, _| {})
    }

    fn start_with(
        webhook: Option<String>,
        alertmanager: Option<String>,
        pace: Pace,
        ask: impl Fn(u64, oneshot::Sender<Findings>) + Send + 'static,
    ) -> Self {
        let target = |url: Option<String>| url.map(|url| url.parse::<Target>().unwrap());
        let settings = AlertSettings {
            threshold: None,
            after: 1,
            webhook: target(webhook),
            alertmanager: target(alertmanager),
            labels: labels(),
        };
        let desk = Arc::new(Desk::new(&settings, Some(([127, 0, 0, 1], 6060).into())));
        let ours = Arc::clone(&desk);
        let thread = Some(std::thread::spawn(move || run_at(&ours, &ask, &pace).unwrap()));
        Self { desk, thread }
    }

    fn tell(&self, number: u64, change: AlertChange) {
        self.desk.tell(Some(&alarm(number, change)), Standing::NotYet);
    }

    fn deliveries(&self, sink: &str) -> AlertDeliveries {
        self.desk.report().deliveries.into_iter().find(|deliveries| deliveries.sink == sink).expect("a receiver")
    }

    #[track_caller]
    fn wait(&self, sink: &str, what: &str, is_so: impl Fn(&AlertDeliveries) -> bool) -> AlertDeliveries {
        let begun = std::time::Instant::now();
        loop {
            let deliveries = self.deliveries(sink);
            if is_so(&deliveries) {
                return deliveries;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {deliveries:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(&mut self) -> Duration {
        let begun = std::time::Instant::now();
        self.desk.stop();
        self.thread.take().unwrap().join().unwrap();
        begun.elapsed()
    }
}

fn url(server: &Server) -> Option<String> {
    Some(format!("http://{}/hook?key=secret", server.address))
}

fn json(request: &str) -> serde_json::Value {
    serde_json::from_str(request.split_once("\r\n\r\n").expect("a head").1).expect("JSON")
}

#[test]
fn a_webhook_gets_what_changed_and_alertmanager_every_heartbeat() {
    let (webhook, alertmanager) = (Server::answering(OK), Server::answering(OK));
    let credentials = format!("http://me:s3cret@{}", alertmanager.address);
    let mut service = Service::start(url(&webhook), Some(credentials));
    for (change, both, all) in [(Opened, 1, 1), (Unchanged, 1, 2), (Raised, 2, 3), (Updated, 3, 4), (Resolved, 4, 5)] {
        service.tell(1, change);
        for (sink, expect) in [("log", both), ("webhook", both), ("alertmanager", all)] {
            service.wait(sink, "sent", |sink| sink.sent == expect);
        }
    }
    service.stop();
    for sink in ["log", "webhook", "alertmanager"] {
        let AlertDeliveries { failed, dropped, replaced, failed_attempts, waiting, last_error, .. } =
            service.deliveries(sink);
        assert_eq!((failed, dropped, replaced, failed_attempts, waiting, last_error), (0, 0, 0, 0, 0, None), "{sink}");
    }
    let requests = webhook.requests();
    let bodies: Vec<serde_json::Value> = requests.iter().map(|request| json(request)).collect();
    let changes: Vec<&str> = bodies.iter().map(|body| body["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["opened", "raised", "updated", "resolved"]);
    assert!(bodies.iter().all(|body| body["id"] == bodies[0]["id"]), "one alert");
    assert_eq!((&bodies[3]["state"], &bodies[0]["state"]), (&"resolved".into(), &"firing".into()));
    let head = requests[0].to_ascii_lowercase();
    assert!(head.starts_with("post /hook?key=secret http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {}\r\n", webhook.address)), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n") && !head.contains("authorization"), "{head}");
    let head = alertmanager.requests()[0].clone();
    assert!(head.starts_with("POST /api/v2/alerts HTTP/1.1\r\n"), "{head}");
    // me:s3cret
    assert!(head.contains("\r\nauthorization: Basic bWU6czNjcmV0\r\n"), "{head}");
    let shown = serde_json::to_string(&service.desk.report()).unwrap();
    assert!(!shown.contains("s3cret") && !shown.contains("secret"), "{shown}");
}

#[test]
fn an_alert_as_json_is_as_documented() {
    let mut alert = crate::alerts::testing::alert(1, Opened);
    alert.id = "1700000000-1-1".to_owned();
    let findings = Findings {
        sites: vec![AlertSite::new(site("shop::carts::add"), 5 << 20, Some((4.0e6, 6.5e6)))],
        remark: None,
        leaks: Some(crate::alerts::AlertLeaks::new(
            "1 site grows without bound".to_owned(),
            [(site("shop::carts::add"), "grows by 1.0 MiB/s".to_owned())],
        )),
    };
    alert.learn(7, &findings);
    crate::golden::check("alert.json", serde_json::to_string_pretty(&alert).unwrap() + "\n");
}

fn site(function: &str) -> Site {
    Site { function: function.to_owned(), file: "src/carts.rs".to_owned(), line: 7 }
}

#[test]
fn an_answer_that_says_later_is_tried_again_and_one_that_says_never_is_not() {
    let answers = ["500 Oops", "503 Busy", "429 Slow Down", "200 OK"];
    let server = Server::start(Box::new(move |conversation| {
        conversation.request();
        let status = answers[(conversation.number as usize - 1) % answers.len()];
        conversation.write(format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\nsorry\n").as_bytes());
    }));
    let mut service = Service::start(url(&server), None);
    service.tell(1, Opened);
    let sent = service.wait("webhook", "sent in the end", |sink| sink.sent == 1);
    assert_eq!((sent.failed, sent.failed_attempts), (0, 3));
    assert_eq!(sent.last_error.as_deref(), Some("answered 429"));
    service.stop();

    for (answer, expect) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (
            "HTTP/1.1 301 Moved\r\nLocation: /hook\r\nContent-Length: 0\r\n\r\n",
            "answered 301, a redirect, and none is followed",
        ),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 8\r\n\r\na\x1b[1m\r\nb", "answered 400: a [1m  b"),
    ] {
        let server = Server::answering(answer);
        let mut service = Service::start(url(&server), None);
        service.tell(1, Opened);
        let failed = service.wait("webhook", "given up", |sink| sink.failed == 1);
        assert_eq!((failed.sent, failed.failed_attempts, failed.last_error.as_deref()), (0, 1, Some(expect)));
        assert_eq!(server.requests().len(), 1);
        // Who has not heard of it is told at the next heartbeat.
        service.tell(1, Unchanged);
        service.wait("webhook", "told again", |sink| sink.failed == 2);
        service.stop();
    }
}

#[test]
fn whatever_a_server_does_takes_no_more_time_than_there_is() {
    let behaviours: [(&str, &str, super::server::Behaviour); 7] = [
        ("hangs", "no answer within 1 s", Box::new(|conversation| conversation.hang())),
        ("closes", "no answer: ", Box::new(|_| {})),
        (
            "closes in the middle of the head",
            "no answer: ",
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"HTTP/1.1 200 OK\r\nContent-Le");
            }),
        ),
        (
            "drips its head",
            "no answer within 1 s",
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"HTTP/1.1 200 OK\r\nX: ");
                while conversation.write(b"x") {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }),
        ),
        (
            "sends a head without end",
            "no answer: ",
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"HTTP/1.1 200 OK\r\n");
                while conversation
                    .write(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")
                {
                }
            }),
        ),
        (
            "goes on promising an answer",
            "no answer",
            Box::new(|conversation| {
                conversation.request();
                while conversation.write(b"HTTP/1.1 100 Continue\r\n\r\n") {}
            }),
        ),
        (
            "speaks something else",
            "no answer: ",
            Box::new(|conversation| {
                conversation.request();
                conversation.write(b"220 mail.example.org ESMTP\r\n");
            }),
        ),
    ];
    for (what, expect, behave) in behaviours {
        let server = Server::start(behave);
        let begun = std::time::Instant::now();
        let mut service = Service::start(url(&server), None);
        service.tell(1, Opened);
        let failed = service.wait("webhook", what, |sink| sink.failed_attempts >= 2);
        assert!(failed.last_error.as_deref().is_some_and(|error| error.starts_with(expect)), "{what}: {failed:?}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {:?}", begun.elapsed());
        assert_eq!((failed.sent, failed.failed), (0, 0), "{what}: it goes on trying");
        let took = service.stop();
        assert!(took < Duration::from_secs(5), "{what}: it ended after {took:?}");
    }
}

#[test]
fn an_answer_that_repeats_the_question_tells_no_secrets() {
    let server = Server::start(Box::new(|conversation| {
        let request = conversation.request();
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n", request.len());
        conversation.write((head + &request).as_bytes());
    }));
    let mut service = Service::start(Some(format!("http://me:s3cret@{}/", server.address)), None);
    service.tell(1, Opened);
    let failed = service.wait("webhook", "refused", |sink| sink.failed == 1);
    assert!(server.requests()[0].contains("bWU6czNjcmV0"), "{:?}", server.requests());
    assert_eq!(failed.last_error.as_deref(), Some("answered 400"));
    service.stop();
}

#[test]
fn of_a_body_without_end_little_is_read() {
    for (status, is_sent) in [("200 OK", true), ("500 Oops", false)] {
        let server = Server::start(Box::new(move |conversation| {
            conversation.request();
            conversation.write(format!("HTTP/1.1 {status}\r\nContent-Length: 1073741824\r\n\r\n").as_bytes());
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..(1 << 14) {
                if !conversation.write(&piece) {
                    return;
                }
            }
        }));
        let mut service = Service::start(url(&server), None);
        service.tell(1, Opened);
        let after = service.wait("webhook", "an end", |sink| sink.sent == 1 || sink.failed_attempts == 3);
        assert_eq!(after.sent == 1, is_sent);
        let error = after.last_error.unwrap_or_default();
        assert!(error.len() < 300, "{error}");
        service.stop();
        // What the kernel's buffers on both sides hold is written too, each time.
        assert!(server.written() < 64 << 20, "{}", server.written());
    }
}

#[test]
fn one_that_hangs_keeps_no_other_waiting() {
    let (webhook, alertmanager) = (Server::start(Box::new(|conversation| conversation.hang())), Server::answering(OK));
    let slow = Pace { limits: Limits { total: Duration::from_secs(600), ..pace().limits }, ..pace() };
    let mut service =
        Service::start_with(url(&webhook), Some(format!("http://{}", alertmanager.address)), slow, |_, _| {});
    for number in 1..=100 {
        service.tell(number, Opened);
        service.tell(number, Resolved);
        service.wait("alertmanager", "sent", |sink| sink.waiting == 0 && sink.sent >= number);
    }
    let stuck = service.wait("webhook", "a full queue", |sink| sink.dropped >= 84);
    assert_eq!((stuck.sent, stuck.failed, stuck.waiting), (0, 0, 16), "{stuck:?}");
    assert_eq!(stuck.dropped, 84);
    let took = service.stop();
    assert!(took >= pace().flush && took < Duration::from_secs(20), "{took:?}");
    let ended = service.deliveries("webhook");
    assert_eq!((ended.dropped, ended.waiting), (100, 0), "all is accounted for");
}

#[test]
fn what_waits_is_sent_at_the_end_once() {
    let server = Server::start(Box::new(|conversation| {
        conversation.request();
        let status = if conversation.number == 1 { "500 Oops" } else { "200 OK" };
        conversation.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }));
    let hour = Duration::from_secs(3600);
    let patient = Pace { schedule: Schedule { first: hour, longest: hour, total: 2 * hour }, ..pace() };
    let mut service = Service::start_with(url(&server), None, patient, |_, _| {});
    service.tell(1, Opened);
    service.wait("webhook", "an attempt", |sink| sink.failed_attempts == 1);
    service.tell(1, Resolved);
    service.tell(2, Opened);
    service.wait("webhook", "both to wait", |sink| sink.replaced == 1 && sink.waiting == 2);
    service.stop();
    let ended = service.deliveries("webhook");
    assert_eq!((ended.sent, ended.failed, ended.dropped), (2, 0, 0), "{ended:?}");
    let changes: Vec<_> = server.requests().iter().map(|request| json(request)["change"].clone()).collect();
    assert_eq!(changes, ["opened", "resolved", "opened"], "the newest state of each");
}

#[test]
fn it_is_given_up_after_its_time_and_the_next_is_tried() {
    let server = Server::answering("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let short = Pace { schedule: Schedule { total: Duration::from_millis(100), ..pace().schedule }, ..pace() };
    let mut service = Service::start_with(url(&server), None, short, |_, _| {});
    for number in 1..=3 {
        service.tell(number, Opened);
        service.wait("webhook", "given up", |sink| sink.failed == number);
    }
    service.stop();
    assert_eq!(service.deliveries("webhook").waiting, 0);
}

#[test]
fn nobody_listening_is_an_error_like_others() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut service = Service::start(Some(format!("http://u:s3cret@{address}/s3cret")), None);
    service.tell(1, Opened);
    let failed = service.wait("webhook", "attempts", |sink| sink.failed_attempts >= 2);
    let error = failed.last_error.unwrap();
    assert!(error.starts_with("connecting failed: ") && !error.contains("s3cret"), "{error}");
    service.stop();
    let mut service = Service::start(Some("http://no-such-name.invalid/".to_owned()), None);
    service.tell(1, Opened);
    let failed = service.wait("webhook", "attempts", |sink| sink.failed_attempts >= 2);
    let error = failed.last_error.unwrap();
    assert!(error.starts_with("connecting failed: ") || error.starts_with("no connection within"), "{error}");
    service.stop();
}

#[test]
fn sites_are_waited_for_and_come_later_if_they_must() {
    let found = |name: &str| Findings { sites: vec![AlertSite::new(site(name), 1, None)], remark: None, leaks: None };
    let server = Server::answering(OK);
    let mut service = Service::start_with(url(&server), None, pace(), move |snapshot, reply| {
        assert_eq!(snapshot, 7);
        reply.send(found("in_time")).unwrap();
    });
    service.tell(1, Opened);
    service.wait("webhook", "sent", |sink| sink.sent == 1);
    let active = service.desk.report().active.unwrap();
    assert_eq!((&*active.sites[0].site.function, active.sites_snapshot), ("in_time", Some(7)));
    assert!(active.snapshot_url.unwrap().ends_with(":6060/api/snapshots/7"));
    assert_eq!(json(&server.requests()[0])["sites"][0]["function"], "in_time");
    service.stop();

    // Whoever is asked takes longer than anybody waits; then it is told again.
    let server = Server::answering(OK);
    let (late, ask) = std::sync::mpsc::channel();
    let hurried = Pace { patience: Duration::from_millis(20), ..pace() };
    let mut service = Service::start_with(url(&server), None, hurried, move |_, reply| late.send(reply).unwrap());
    service.tell(1, Opened);
    service.wait("webhook", "sent without", |sink| sink.sent == 1);
    ask.recv().unwrap().send(found("late")).unwrap();
    service.wait("webhook", "sent with", |sink| sink.sent == 2);
    let bodies: Vec<_> = server.requests().iter().map(|request| json(request)).collect();
    assert_eq!((&bodies[0]["change"], bodies[0]["sites"].as_array().unwrap().len()), (&"opened".into(), 0));
    assert_eq!((&bodies[1]["change"], &bodies[1]["sites"][0]["function"]), (&"updated".into(), &"late".into()));
    assert_eq!(bodies[0]["id"], bodies[1]["id"]);
    service.stop();

    // Whoever is asked has too much to do.
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let server = Server::answering(OK);
    let mut service = Service::start_with(url(&server), None, pace(), move |_, reply| {
        count.fetch_add(1, Ordering::Relaxed);
        drop(reply);
    });
    service.tell(1, Opened);
    service.wait("webhook", "sent without", |sink| sink.sent == 1);
    service.tell(1, Resolved);
    service.wait("webhook", "over", |sink| sink.sent == 2);
    service.stop();
    assert_eq!(asked.load(Ordering::Relaxed), 1, "not for one that is over");
}

#[test]
fn counts_are_by_severity_and_receiver() {
    let server = Server::answering(OK);
    let mut service = Service::start(url(&server), None);
    service.tell(1, Opened);
    service.wait("webhook", "sent", |sink| sink.sent == 1);
    service.wait("log", "sent", |sink| sink.sent == 1);
    let counts = service.desk.counts();
    assert_eq!((counts.severities, counts.active), ([0, 1, 0], Some(Severity::Medium)));
    assert_eq!(counts.deliveries, [[1, 0, 0], [1, 0, 0], [0, 0, 0]]);
    service.stop();
}
