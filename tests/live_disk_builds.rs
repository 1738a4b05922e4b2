//! Snapshots of an earlier run of another build: named from the file of then, as long as it is there.

mod common_disk;
mod common_http;

use std::path::Path;

use common_disk::{Service, folder, get, leak_sessions, role, say, writing_to, written_snapshot};
use common_http::{ask, wait_for};
use heapward::Profiler;
use serde_json::Value;

heapward::install!("lg_prof_sample:12");

const TEST: &str = "another_build_is_named_from_its_own_file";

#[test]
fn another_build_is_named_from_its_own_file() {
    if role().is_some() {
        return serve();
    }
    let below = tempfile::tempdir().unwrap();
    let folder = below.path().join("profiles");
    let own = std::env::current_exe().unwrap();
    // In another folder and of the same name, as it is one service.
    let name = own.file_name().unwrap().to_str().unwrap().to_owned();
    let program = below.path().join(&name);
    // To learn this program's build id from what it leaves.
    Service::start(TEST, "service", &folder).kill();
    let profiler = writing_to(&folder).start().unwrap();
    let runs = |profiler: &Profiler| {
        wait_for("the folder to be looked through", || {
            Some(get(profiler, "/api/runs")).filter(|runs| runs["run"].is_string())
        })
    };
    let build_id = runs(&profiler)["runs"][0]["build_id"].as_str().unwrap().to_owned();
    profiler.shutdown();
    another_build(&own, &program, &build_id);
    Service::start_program(&program, TEST, "service", &folder, |_| {}).kill();

    let profiler = writing_to(&folder).start().unwrap();
    let list = runs(&profiler);
    let other = list["runs"].as_array().unwrap().last().unwrap();
    assert_ne!(other["build_id"], build_id.as_str());
    assert_eq!(list["previous"], other["run"]);
    let top = || ask(&profiler.routes(), "GET", "/api/snapshots/latest/top?run=previous").expect(200).json();
    let first = top()["top"][0].clone();
    assert!(first["function"].as_str().unwrap().contains("leak_sessions"), "{first}");
    assert!(first["file"].as_str().unwrap().ends_with("tests/common_disk/mod.rs"), "{first}");
    let refused = ask(&profiler.routes(), "GET", "/api/diff/latest/live?base_run=previous").expect(400).error();
    assert!(refused.contains("is another build, so its stacks cannot be compared: build id "), "{refused}");

    let is_unnamed = |top: &Value, why: &str| {
        let (function, comments) = (top["top"][0]["function"].as_str().unwrap(), top["comments"].to_string());
        assert!(function.contains(&format!("{name}+0x")) && comments.contains(why), "{function}: {comments}");
    };
    // Another build at its place, then nothing.
    std::fs::remove_file(&program).unwrap();
    std::fs::copy(&own, &program).unwrap();
    is_unnamed(&top(), "the file on disk is another build");
    std::fs::remove_file(&program).unwrap();
    is_unnamed(&top(), "the file could not be read");
    profiler.shutdown();
}

/// A copy of this program with another build id.
fn another_build(own: &Path, program: &Path, build_id: &str) {
    let id: Vec<u8> =
        (0..build_id.len()).step_by(2).map(|at| u8::from_str_radix(&build_id[at..at + 2], 16).unwrap()).collect();
    let mut bytes = std::fs::read(own).unwrap();
    let at = bytes.windows(id.len()).position(|window| window == id).expect("the build id is in the file");
    bytes[at..at + id.len()].iter_mut().for_each(|byte| *byte = !*byte);
    std::fs::copy(own, program).unwrap();
    std::fs::write(program, bytes).unwrap();
}

fn serve() {
    let profiler = writing_to(&folder()).start().unwrap();
    let mut held = Vec::with_capacity(200);
    leak_sessions(&mut held, 200);
    written_snapshot(&profiler);
    say("is done");
    loop {
        std::thread::park();
    }
}
