//! Services that are started, killed and looked at through what they leave on disk.
#![allow(dead_code)] // Each test uses a part of it.

pub mod group;
pub mod needs;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use heapward::{Builder, ByteSize, Profiler};
use serde_json::Value;

/// Set in a process that is to be a service: what it does.
pub const ROLE: &str = "DISK_TEST_ROLE";
/// Its folder.
pub const FOLDER: &str = "DISK_TEST_FOLDER";

/// A service in a process of its own: this test's program, run as `test` with a role.
pub struct Service {
    pub child: Child,
    /// The first line that it said.
    pub said: String,
}

impl Service {
    /// Starts it and waits until it says that it runs.
    pub fn start(test: &str, role: &str, folder: &Path) -> Self {
        Self::start_with(test, role, folder, |_| {})
    }

    pub fn start_with(test: &str, role: &str, folder: &Path, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_program(&std::env::current_exe().unwrap(), test, role, folder, change)
    }

    /// The same, of another file than this process's.
    pub fn start_program(
        program: &Path,
        test: &str,
        role: &str,
        folder: &Path,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(program);
        command.args([test, "--exact", "--nocapture", "--include-ignored"]).env(ROLE, role).env(FOLDER, folder);
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said =
            lines.by_ref().map(|line| line.unwrap()).find_map(|line| Some(line.split_once("service: ")?.1.to_owned()));
        let said = said.expect("the service did not say that it runs");
        // Whatever it says later is nobody's, and must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, said }
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

/// What this process is to be, if it is a service.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Says that it runs.
pub fn say(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "service: {what}").unwrap();
    out.flush().unwrap();
}

/// A profiler that writes to the folder of this service, or to another.
pub fn writing_to(folder: &Path) -> Builder {
    Profiler::builder()
        .listen("127.0.0.1:0")
        .rss_threshold(ByteSize::gib(1 << 20))
        .profiles_dir(folder)
        .max_stacks(1 << 14)
        .max_live_samples(1 << 16)
}

pub fn folder() -> std::path::PathBuf {
    std::env::var_os(FOLDER).expect("a service's folder").into()
}

/// A leak of `count` sessions, which the diffs and tables must name.
#[inline(never)]
pub fn leak_sessions(held: &mut Vec<Vec<u8>>, count: usize) {
    for _ in 0..count {
        held.push(black_box(vec![1; 16 * 1024]));
    }
}

/// Takes a snapshot as soon as one may be had, and waits until it is on disk.
pub fn written_snapshot(profiler: &Profiler) -> u64 {
    let id = super::common_http::wait_for("a snapshot", || profiler.snapshot().ok()).id;
    let folder_has = || names(profiler).iter().any(|name| name.contains(&format!(".{id:06}.")));
    super::common_http::wait_for("the snapshot on disk", || folder_has().then_some(()));
    id
}

/// Names of the snapshots in the folder that `profiler` writes to, sorted.
pub fn names(profiler: &Profiler) -> Vec<String> {
    let memory = super::common_http::ask(&profiler.routes(), "GET", "/api/memory").json();
    let run = memory["disk"]["run"].as_str().unwrap_or("none").to_owned();
    let folder = memory["disk"]["folder"].as_str().unwrap_or_default().to_owned();
    files(Path::new(&folder)).into_iter().filter(|name| name.contains(&run)).collect()
}

/// Names of all snapshots in a folder, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".heapward")).collect();
    names.sort();
    names
}

/// `GET` on the routes of a profiler.
#[track_caller]
pub fn get(profiler: &Profiler, target: &str) -> Value {
    super::common_http::ask(&profiler.routes(), "GET", target).expect(200).json()
}

/// A figure of `/api/memory`'s disk.
#[track_caller]
pub fn disk(profiler: &Profiler, figure: &str) -> u64 {
    let memory = get(profiler, "/api/memory");
    memory["disk"][figure].as_u64().unwrap_or_else(|| panic!("{figure}: {memory}"))
}

pub const SHORT: Duration = Duration::from_millis(50);
