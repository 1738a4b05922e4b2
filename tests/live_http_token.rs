//! A server with a token, and one that must not start without.

mod common_http;

use base64::Engine as _;
use common_http::{Client, free_port, heapward_threads, is_listening};
use heapward::{ErrorKind, Profiler};

heapward::install!();

const TOKEN: &str = "correct horse:battery";

#[test]
fn nobody_is_answered_without_the_token() {
    // In this order: after a refused start nothing is left, so the right one works.
    other_machines_are_not_listened_to_without_a_token();

    let profiler = Profiler::builder().profiles_dir("off").listen("127.0.0.1:0").token(TOKEN).start().unwrap();
    assert!(!format!("{profiler:?}").contains("horse"));
    let client = Client::Tcp(profiler.address().unwrap());
    a_request_without_the_token_is_refused(&client);
    nobody_without_the_token_is_waited_for(&client);
    the_token_opens_every_door(&client);
    the_token_does_not_open_a_foreign_host(&client);
    profiler.shutdown();
}

fn other_machines_are_not_listened_to_without_a_token() {
    for ip in ["0.0.0.0", "[::]", "192.0.2.1"] {
        let port = free_port();
        let address = format!("{ip}:{port}");
        let error = Profiler::builder().profiles_dir("off").listen(&address).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        for words in [&address, "HEAPWARD_LISTEN", "HEAPWARD_TOKEN", "127.0.0.1:6060", "other machines can reach"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!is_listening(port), "{address}");
        assert_eq!(heapward_threads(), [""; 0]);
    }
    let error = Profiler::builder().profiles_dir("off").listen("0.0.0.0:0").token("").start().unwrap_err();
    assert!(error.to_string().starts_with("token (HEAPWARD_TOKEN) is empty or has a character"), "{error}");
    common_http::assert_the_host_allocates();
}

/// A body that is announced and never comes keeps no connection open for whoever may not ask.
fn nobody_without_the_token_is_waited_for(client: &Client) {
    let head = b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    let answer = client.send_raw(head);
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

fn a_request_without_the_token_is_refused(client: &Client) {
    let wrong = [
        format!("Bearer {}x", TOKEN),
        format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        format!("Bearer {}", TOKEN.to_uppercase()),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
        TOKEN.to_owned(),
        format!("Digest {TOKEN}"),
        basic("user:wrong"),
        basic("user:"),
        basic("user"),
        // With no user before it, or as the user, the token is not the password.
        basic(TOKEN),
        basic(&format!("{TOKEN}:")),
        "Basic ?".to_owned(),
        String::new(),
    ];
    let refused = |reply: common_http::Reply| {
        let reply = reply.expect(401);
        assert!(reply.header("www-authenticate").is_some_and(|value| value.starts_with("Basic realm=")), "{reply:?}");
        assert!(reply.text().contains("Authorization: Bearer TOKEN"), "it says what is needed: {reply:?}");
        assert!(!reply.text().contains("horse"));
    };
    for path in ["/", "/healthz", "/metrics", "/api/memory", "/api/snapshots", "/api/snapshots/99", "/nothing"] {
        refused(client.get(path));
        for authorization in &wrong {
            refused(client.get_with(path, &[("Authorization", authorization)]));
        }
    }
    client.send("HEAD", "/metrics", &[]).expect(401);
    refused(client.send("POST", "/api/snapshots", &[]));
    refused(client.send("PUT", "/metrics", &[]));
    refused(client.get(&format!("/metrics?token={TOKEN}").replace(' ', "%20")));

    let reply = client.get("/debug/pprof/heap");
    assert_eq!(reply.header("x-go-pprof"), Some("1"), "pprof shows its user why");
    refused(reply);
}

fn the_token_opens_every_door(client: &Client) {
    for authorization in [
        format!("Bearer {TOKEN}"),
        format!("bearer {TOKEN}"),
        basic(&format!("user:{TOKEN}")),
        basic(&format!(":{TOKEN}")),
    ] {
        for path in ["/", "/metrics", "/debug/pprof/heap"] {
            client.get_with(path, &[("Authorization", &authorization)]).expect(200);
        }
    }
    let authorization = format!("Bearer {TOKEN}");
    let list = client.get_with("/api/snapshots", &[("Authorization", &authorization)]).expect(200).json();
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 0, "those who were refused took none");
    client.send("POST", "/api/snapshots", &[("Authorization", &authorization)]).expect(201);
    client.get_with("/nothing", &[("Authorization", &authorization)]).expect(404);
}

fn the_token_does_not_open_a_foreign_host(client: &Client) {
    let authorization = format!("Bearer {TOKEN}");
    client.get_with("/metrics", &[("Authorization", &authorization), ("Host", "example.org")]).expect(403);
}
