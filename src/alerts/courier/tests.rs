use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::server::Server;
use super::*;
use crate::alerts::testing::{alarm, labels};
use crate::alerts::{AlertDeliveries, AlertSettings, AlertSite, Findings, Target};
use crate::analysis::Site;
use crate::policy::{Alarm, AlertChange, Severity, Standing};
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
        let desk = Arc::new(Desk::new(&settings, Some(([127, 0, 0, 1], 6060).into()), Duration::from_secs(1)));
        let ours = Arc::clone(&desk);
        // What this test listens to of the log, that thread writes.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let run = move || run_at(&ours, &ask, &pace).unwrap();
        let thread = Some(std::thread::spawn(move || tracing::dispatcher::with_default(&log, run)));
        Self { desk, thread }
    }

    fn tell(&self, number: u64, change: AlertChange) {
        self.desk.tell(Some(&alarm(number, change)), Standing::NotYet);
    }

    fn tell_with(&self, number: u64, change: AlertChange, snapshot: u64) {
        let alarm = Alarm { snapshot: Some(snapshot), ..alarm(number, change) };
        self.desk.tell(Some(&alarm), Standing::NotYet);
    }

    fn deliveries(&self, sink: &str) -> AlertDeliveries {
        self.desk.report().deliveries.into_iter().find(|deliveries| deliveries.sink == sink).expect("a receiver")
    }

    #[track_caller]
    fn wait(&self, sink: &str, what: &str, is_so: impl Fn(&AlertDeliveries) -> bool) -> AlertDeliveries {
        self.wait_for(what, |_| is_so(&self.deliveries(sink)));
        self.deliveries(sink)
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn(&Desk) -> bool) {
        let begun = std::time::Instant::now();
        while !is_so(&self.desk) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}: {:?}", self.desk.report());
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

/// Of a run that sends alerts to nobody.
fn desk() -> Desk {
    let settings = AlertSettings { threshold: None, after: 1, webhook: None, alertmanager: None, labels: labels() };
    Desk::new(&settings, None, Duration::from_secs(1))
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
        // Where there is no key to repeat.
        let mut service = Service::start(Some(format!("http://{}", server.address)), None);
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
fn no_key_of_an_address_gets_out() {
    type Answer = fn(&str) -> String;
    let answers: [(&str, Answer); 7] = [
        ("refuses", |request| format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{request}", request.len())),
        ("fails", |request| format!("HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{request}", request.len())),
        ("sends elsewhere", |request| {
            let path = request.split(' ').nth(1).unwrap();
            format!("HTTP/1.1 307 Elsewhere\r\nLocation: {path}\r\nContent-Length: {}\r\n\r\n{path}", path.len())
        }),
        ("gives it for a reason", |request| {
            format!("HTTP/1.1 400 {}\r\nContent-Length: 0\r\n\r\n", request.lines().next().unwrap())
        }),
        ("has it in a broken header", |request| {
            format!("HTTP/1.1 200 OK\r\n{}\u{1}: x\r\n\r\n", request.lines().next().unwrap())
        }),
        ("is an echo", str::to_owned),
        ("says nothing", |_| String::new()),
    ];
    // Behind the host, and before it.
    let hooks = ["/services/T0/B0/s3cret", "/hook?key=s3cret", "/?key=s3cret", "/s3cret/api/v2/alerts", "s3cret"];
    let prefixes = ["/s3cret", "/?key=s3cret", "/?key=s3cret/api/v2/alerts", "/s3cret/api/v2/alerts", "s3cret"];
    for (what, answer) in answers {
        for (hook, prefix) in hooks.into_iter().zip(prefixes) {
            let server = || {
                Server::start(Box::new(move |conversation| {
                    let request = conversation.request();
                    conversation.write(answer(&request).as_bytes());
                }))
            };
            let (webhook, alertmanager) = (server(), server());
            let url = |server: &Server, secret: &str| match secret.strip_prefix('/') {
                Some(path) => Some(format!("http://{}/{path}", server.address)),
                None => Some(format!("http://u:{secret}@{}", server.address)),
            };
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
            let report = tracing::subscriber::with_default(subscriber, || {
                let mut service = Service::start(url(&webhook, hook), url(&alertmanager, prefix));
                service.tell(1, Opened);
                for sink in ["webhook", "alertmanager"] {
                    service.wait(sink, what, |sink| sink.failed_attempts > 0);
                }
                service.stop();
                service.desk.report()
            });
            let heard = webhook.requests()[0].clone() + &alertmanager.requests()[0];
            // u:s3cret
            assert_eq!(heard.matches("s3cret").count() + heard.matches("dTpzM2NyZXQ=").count(), 2, "{heard}");
            let errors = report.deliveries.iter().filter(|sink| sink.last_error.is_some()).count();
            assert_eq!(errors, 2, "{report:?}");
            let shown = format!("{report:?}{}{}", serde_json::to_string(&report).unwrap(), log.text());
            assert!(shown.contains("could not be sent to the webhook"), "{shown}");
            assert!(!shown.contains("s3cret") && !shown.contains("dTpzM2NyZXQ"), "{what}: {hook} {prefix}: {shown}");
        }
    }
    // What an Alertmanager says of itself is worth knowing.
    let server = Server::answering("HTTP/1.1 400 Bad\r\nContent-Length: 7\r\n\r\nno name");
    let mut service = Service::start(None, Some(format!("http://{}", server.address)));
    service.tell(1, Opened);
    let refused = service.wait("alertmanager", "refused", |sink| sink.failed == 1);
    assert_eq!(refused.last_error.as_deref(), Some("answered 400: no name"));
    service.stop();
}

/// What is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_two_alerts_of_any_runs_have_one_id() {
    // As of two containers that cross the threshold in the same second, where both processes are number 1.
    let ids: std::collections::HashSet<String> = [1, 1, 2]
        .into_iter()
        .zip([desk(), desk()].iter().cycle())
        .map(|(number, desk)| {
            desk.tell(Some(&alarm(number, Opened)), Standing::NotYet);
            desk.report().active.unwrap().id
        })
        .collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
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

/// Where questions about snapshots come in, and from where they are answered.
struct Renderer {
    service: Service,
    server: Server,
    questions: mpsc::Receiver<(u64, oneshot::Sender<Findings>)>,
    sent: u64,
}

impl Renderer {
    fn start(patience: Duration) -> Self {
        let server = Server::answering(OK);
        let (ask, questions) = mpsc::channel();
        let asked = move |snapshot, reply| ask.send((snapshot, reply)).unwrap();
        let service = Service::start_with(url(&server), None, Pace { patience, ..pace() }, asked);
        Self { service, server, questions, sent: 0 }
    }

    #[track_caller]
    fn asked(&self, snapshot: u64) -> oneshot::Sender<Findings> {
        let (asked, reply) = self.questions.recv_timeout(Duration::from_secs(30)).expect("a question");
        assert_eq!(asked, snapshot);
        reply
    }

    /// The next message: its change, its snapshot, and that of its sites.
    #[track_caller]
    fn told(&mut self, change: &str, snapshot: u64, sites: Option<u64>) -> serde_json::Value {
        self.sent += 1;
        self.service.wait("webhook", change, |sink| sink.sent >= self.sent);
        let body = json(&self.server.requests()[self.sent as usize - 1]);
        let seen = (&body["change"], body["snapshot"].as_u64(), body["sites_snapshot"].as_u64());
        assert_eq!(seen, (&change.into(), Some(snapshot), sites), "{body:#}");
        body
    }

    /// Ends it; nothing else was sent, and nothing else asked.
    #[track_caller]
    fn end(mut self) {
        self.service.stop();
        let bodies: Vec<_> = self.server.requests().iter().map(|request| json(request)["change"].clone()).collect();
        assert_eq!(bodies.len() as u64, self.sent, "{bodies:?}");
        assert!(self.questions.try_recv().is_err());
    }
}

const LONG: Duration = Duration::from_secs(3600);

fn found(name: &str) -> Findings {
    Findings { sites: vec![AlertSite::new(site(name), 1, None)], remark: None, leaks: None }
}

#[test]
fn an_alert_waits_for_nobody() {
    let mut renderer = Renderer::start(LONG);
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    renderer.service.tell(1, Raised);
    renderer.told("raised", 7, None);
    renderer.service.tell(1, Resolved);
    renderer.told("resolved", 7, None);
    // Who was asked is still at it.
    let answer = renderer.asked(7);
    assert!(!answer.is_closed());
    renderer.end();
}

#[test]
fn what_is_behind_an_alert_is_told_once_when_it_is_known() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let mut renderer = tracing::subscriber::with_default(subscriber, || Renderer::start(LONG));
    renderer.service.tell(1, Opened);
    let opened = renderer.told("opened", 7, None);
    renderer.service.wait("log", "written", |log| log.sent == 1);
    renderer.asked(7).send(found("shop::add")).unwrap();
    let updated = renderer.told("updated", 7, Some(7));
    assert_eq!((&updated["id"], &updated["sites"][0]["function"]), (&opened["id"], &"shop::add".into()));
    let active = renderer.service.desk.report().active.unwrap();
    assert_eq!((&*active.sites[0].site.function, active.change), ("shop::add", Updated));
    assert!(active.snapshot_url.unwrap().ends_with(":6060/api/snapshots/7"));
    renderer.service.tell(1, Raised);
    renderer.told("raised", 7, Some(7));
    renderer.service.tell(1, Resolved);
    renderer.told("resolved", 7, Some(7));
    renderer.end();
    let log = log.text();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("alert")).collect();
    assert_eq!(lines.len(), 4, "{log}");
    // As loud as the beginning.
    assert!(lines[0].contains(" WARN ") && !lines[0].contains("shop::add"), "{log}");
    assert!(lines[1].contains(" WARN ") && lines[1].contains("most is held by 1 B shop::add"), "{log}");
}

#[test]
fn a_newer_snapshot_is_told_with_what_is_behind_it() {
    let mut renderer = Renderer::start(LONG);
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    renderer.asked(7).send(found("seven")).unwrap();
    renderer.told("updated", 7, Some(7));
    // One message for the snapshot and its sites.
    renderer.service.tell_with(1, Updated, 8);
    renderer.asked(8).send(found("eight")).unwrap();
    renderer.told("updated", 8, Some(8));
    // Where it gets worse meanwhile, that waits for nothing.
    renderer.service.tell_with(1, Updated, 9);
    let answer = renderer.asked(9);
    renderer.service.tell_with(1, Raised, 9);
    renderer.told("raised", 9, Some(8));
    answer.send(found("nine")).unwrap();
    renderer.told("updated", 9, Some(9));
    // A heartbeat takes its place in the line.
    renderer.service.tell_with(1, Updated, 10);
    let answer = renderer.asked(10);
    renderer.service.tell_with(1, Unchanged, 11);
    renderer.service.wait_for("the heartbeat", |desk| desk.incoming.len() == 0);
    answer.send(found("ten")).unwrap();
    renderer.told("updated", 11, Some(10));
    renderer.service.tell_with(1, Resolved, 11);
    renderer.told("resolved", 11, Some(10));
    // Of the next alert that says nothing.
    renderer.service.tell_with(2, Opened, 12);
    renderer.told("opened", 12, None);
    drop(renderer.asked(12));
    renderer.end();
}

#[test]
fn the_present_snapshot_is_asked_for_when_an_older_ones_answer_came() {
    let mut renderer = Renderer::start(LONG);
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    let seven = renderer.asked(7);
    renderer.service.tell_with(1, Updated, 8);
    renderer.service.tell_with(1, Updated, 9);
    renderer.service.wait_for("both", |desk| desk.incoming.len() == 0);
    seven.send(found("seven")).unwrap();
    renderer.asked(9).send(found("nine")).unwrap();
    renderer.told("updated", 9, Some(9));
    // Also where there was none, and where it got worse with the newer one.
    renderer.service.tell_with(1, Updated, 10);
    let ten = renderer.asked(10);
    renderer.service.tell_with(1, Raised, 11);
    renderer.told("raised", 11, Some(9));
    drop(ten);
    renderer.asked(11).send(found("eleven")).unwrap();
    renderer.told("updated", 11, Some(11));
    renderer.end();
}

#[test]
fn a_newer_snapshot_waits_no_longer_than_there_is_patience() {
    let mut renderer = Renderer::start(Duration::from_millis(20));
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    let seven = renderer.asked(7);
    renderer.service.tell_with(1, Updated, 8);
    renderer.told("updated", 8, None);
    seven.send(found("seven")).unwrap();
    renderer.asked(8).send(found("eight")).unwrap();
    renderer.told("updated", 8, Some(8));
    renderer.end();

    // And not at all at the end.
    let mut renderer = Renderer::start(LONG);
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    let _seven = renderer.asked(7);
    renderer.service.tell_with(1, Updated, 8);
    renderer.service.wait_for("it to be held", |desk| desk.incoming.len() == 0);
    renderer.service.stop();
    assert_eq!(renderer.service.deliveries("webhook").sent, 2);
}

#[test]
fn why_there_is_no_evidence_is_shown_and_told_to_nobody() {
    let mut renderer = Renderer::start(LONG);
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    let nothing = Findings { remark: Some("no room".to_owned()), ..Findings::default() };
    renderer.asked(7).send(nothing).unwrap();
    let remark = |desk: &Desk| desk.report().active.and_then(|active| active.sites_remark);
    renderer.service.wait_for("the remark", |desk| remark(desk).as_deref() == Some("no room"));
    // Who is asked has too much to do.
    renderer.service.tell_with(1, Raised, 8);
    renderer.told("raised", 8, None);
    drop(renderer.asked(8));
    renderer.service.tell_with(1, Resolved, 9);
    renderer.told("resolved", 9, None);
    // Nobody is asked about one that is over.
    renderer.end();
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

#[test]
fn what_was_found_is_told_though_a_newer_question_is_dropped_and_that_is_asked_again() {
    let mut renderer = Renderer::start(LONG);
    renderer.service.tell(1, Opened);
    renderer.told("opened", 7, None);
    let seven = renderer.asked(7);
    renderer.service.tell_with(1, Raised, 8);
    renderer.told("raised", 8, None);
    seven.send(found("seven")).unwrap();
    drop(renderer.asked(8));
    renderer.told("updated", 8, Some(7));
    // A heartbeat is told to nobody here, and asks what was dropped.
    renderer.service.tell_with(1, Unchanged, 8);
    renderer.asked(8).send(found("eight")).unwrap();
    renderer.told("updated", 8, Some(8));
    renderer.service.tell_with(1, Unchanged, 8);
    renderer.service.wait_for("the heartbeat", |desk| desk.incoming.len() == 0);
    renderer.end();
}
