//! The workloads and what is true of them.

use crate::run::Run;
use crate::{leaks, steady};

/// A service that runs until it is told to end.
#[derive(Debug)]
pub struct Workload {
    pub name: &'static str,
    pub label: Label,
    /// Runs the service. Returns soon after the run is over.
    pub serve: fn(&Run),
}

/// What is true of a workload.
#[derive(Clone, Copy, Debug)]
pub enum Label {
    /// The functions that keep what they allocate for ever. The first must be named as a site; the others leak along
    /// with it, and may be.
    Leaks(&'static [&'static str]),
    /// Whatever it holds, it holds no more of it in the second half of the run than in the first.
    Steady,
}

impl Label {
    /// The functions that leak.
    pub fn sites(self) -> &'static [&'static str] {
        match self {
            Self::Leaks(sites) => sites,
            Self::Steady => &[],
        }
    }
}

const fn leaks(name: &'static str, sites: &'static [&'static str], serve: fn(&Run)) -> Workload {
    Workload { name, label: Label::Leaks(sites), serve }
}

const fn steady(name: &'static str, serve: fn(&Run)) -> Workload {
    Workload { name, label: Label::Steady, serve }
}

/// All of them.
pub const ALL: [Workload; 25] = [
    leaks("sessions", &["open_session"], leaks::sessions::serve),
    // tokio's own cell of each task stays with what the task holds.
    leaks("forgotten_tasks", &["receive_upload", "tokio::runtime::task", "tokio::task"], leaks::forgotten_tasks::serve),
    leaks("rc_cycles", &["parse_document"], leaks::rc_cycles::serve),
    leaks("unread_channel", &["audit_event"], leaks::unread_channel::serve),
    leaks("doubling_vectors", &["record_point"], leaks::doubling_vectors::serve),
    leaks("hidden_by_churn", &["response_buffer"], leaks::hidden_by_churn::serve),
    leaks("c_library", &["strdup"], leaks::c_library::serve),
    leaks("listeners", &["subscribe"], leaks::listeners::serve),
    leaks("error_path", &["open_scratch"], leaks::error_path::serve),
    leaks("late", &["record_span"], leaks::late::serve),
    leaks("beside_warm_cache", &["remember_visitor"], leaks::beside_warm_cache::serve),
    leaks("interner", &["intern"], leaks::interner::serve),
    leaks("thread_locals", &["format_buffer"], leaks::thread_locals::serve),
    steady("lru_cache", steady::lru_cache::serve),
    steady("warm_start", steady::warm_start::serve),
    steady("batches", steady::batches::serve),
    steady("object_pool", steady::object_pool::serve),
    steady("fragmentation", steady::fragmentation::serve),
    steady("bounded_channel", steady::bounded_channel::serve),
    steady("connection_pool", steady::connection_pool::serve),
    steady("spike", steady::spike::serve),
    steady("log_ring", steady::log_ring::serve),
    steady("tides", steady::tides::serve),
    steady("ttl_cache", steady::ttl_cache::serve),
    steady("rebuilt_index", steady::rebuilt_index::serve),
];

/// The workload of that name.
pub fn named(name: &str) -> Option<&'static Workload> {
    static WORKLOADS: &[Workload] = &ALL;
    WORKLOADS.iter().find(|workload| workload.name == name)
}
