//! A real Alertmanager takes what heapward sends it, and lets go of it when it is over.

mod common_http;

use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common_http::{Client, free_port, wait_for};
use heapward::{ByteSize, Profiler};
use serde_json::Value;

// Freed pages go back at once, so that RSS falls when the host frees.
heapward::install!("dirty_decay_ms:0,muzzy_decay_ms:0");

const TALL: usize = 600 << 20;

/// Ends with the test, however that ends.
struct Alertmanager {
    process: Child,
    _folder: tempfile::TempDir,
    client: Client,
    port: u16,
}

impl Alertmanager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n").unwrap();
        let port = free_port();
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-alertmanager is installed");
        let client = Client::Tcp(([127, 0, 0, 1], port).into());
        let alertmanager = Self { process, _folder: folder, client, port };
        wait_for("Alertmanager to listen", || common_http::is_listening(port).then_some(()));
        alertmanager
    }

    /// The alerts that are firing there.
    fn alerts(&self) -> Vec<Value> {
        let reply = self.client.get("/api/v2/alerts?active=true");
        assert_eq!(reply.status, 200, "{reply:?}");
        serde_json::from_slice(&reply.body).expect("a list")
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs Alertmanager (Debian prometheus-alertmanager)"]
fn alertmanager_takes_an_alert_and_lets_it_go() {
    let alertmanager = Alertmanager::start();
    let profiler = Profiler::builder()
        .listen("127.0.0.1:0")
        .profiles_dir("off")
        .poll_interval(Duration::from_millis(10))
        .alert_threshold(ByteSize::mib(400))
        .alertmanager(&format!("http://127.0.0.1:{}", alertmanager.port))
        .alert_label("service", "test")
        .start()
        .unwrap();
    let tall = black_box(vec![1u8; TALL]);
    let alert = wait_for("an alert", || alertmanager.alerts().pop());
    assert_eq!(alert["labels"]["alertname"], "HeapwardMemoryUse", "{alert:#}");
    assert_eq!(alert["labels"]["service"], "test", "{alert:#}");
    let active = profiler.alerts().unwrap().unwrap().active.unwrap();
    assert_eq!(alert["labels"]["severity"], active.severity.name(), "{alert:#}");
    assert_eq!(alert["annotations"]["alert_id"], *active.id, "{alert:#}");
    assert_eq!(alert["generatorURL"], active.url.unwrap(), "{alert:#}");
    assert_eq!(alert["status"]["state"], "active", "{alert:#}");
    // It came at once; what is behind it comes under the same labels.
    let is_behind =
        |alert: &Value| alert["annotations"]["description"].as_str().unwrap().contains("; most is held by ");
    let explained = wait_for("what is behind it", || alertmanager.alerts().into_iter().find(is_behind));
    assert_eq!(explained["annotations"]["alert_id"], *active.id, "{explained:#}");
    drop(tall);
    wait_for("it to be over", || alertmanager.alerts().is_empty().then_some(()));
    let deliveries = profiler.alerts().unwrap().unwrap().deliveries.pop().unwrap();
    assert_eq!((deliveries.sink, deliveries.failed_attempts), ("alertmanager", 0), "{deliveries:?}");
    profiler.shutdown();
}
