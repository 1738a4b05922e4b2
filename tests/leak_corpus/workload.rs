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
    Leaks(Sites),
    /// Whatever it holds, it holds no more of it in the second half of the run than in the first.
    Steady,
}

/// Parts of the names of functions that keep what they allocate for ever.
#[derive(Clone, Copy, Debug)]
pub struct Sites {
    /// One of them must be named.
    pub one_of: &'static [&'static str],
    /// They leak along with it: they may be named, and need not.
    pub also: &'static [&'static str],
}

impl Sites {
    /// Whether `site` is one of those that must be named.
    pub fn has_named(self, site: &str) -> bool {
        self.one_of.iter().any(|part| site.contains(part))
    }
}

impl Label {
    /// Whether what the site `site` allocates leaks.
    pub fn is_leak(self, site: &str) -> bool {
        match self {
            Self::Leaks(sites) => sites.has_named(site) || sites.also.iter().any(|part| site.contains(part)),
            Self::Steady => false,
        }
    }
}

const fn leaks(name: &'static str, one_of: &'static [&'static str], serve: fn(&Run)) -> Workload {
    leaks_along(name, one_of, &[], serve)
}

const fn leaks_along(
    name: &'static str,
    one_of: &'static [&'static str],
    also: &'static [&'static str],
    serve: fn(&Run),
) -> Workload {
    Workload { name, label: Label::Leaks(Sites { one_of, also }), serve }
}

const fn steady(name: &'static str, serve: fn(&Run)) -> Workload {
    Workload { name, label: Label::Steady, serve }
}

/// All of them.
pub const ALL: &[Workload] = &[
    leaks("sessions", &["open_session"], leaks::sessions::serve),
    // tokio's own cell of each task stays with what the task holds.
    leaks_along("forgotten_tasks", &["receive_upload"], &["tokio::runtime::task"], leaks::forgotten_tasks::serve),
    leaks("rc_cycles", &["parse_document"], leaks::rc_cycles::serve),
    leaks("unread_channel", &["audit_event"], leaks::unread_channel::serve),
    leaks("doubling_vectors", &["record_point"], leaks::doubling_vectors::serve),
    // The list that keeps them grows as well.
    leaks_along("hidden_by_churn", &["response_buffer"], &["Responder::respond"], leaks::hidden_by_churn::serve),
    #[cfg(feature = "c-malloc")]
    leaks("c_library", &["strdup"], leaks::c_library::serve),
    #[cfg(feature = "c-malloc")]
    leaks_along("c_patterns", &leaks::c_patterns::SITES, &leaks::c_patterns::UNDER, leaks::c_patterns::serve),
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
    ALL.iter().find(|workload| workload.name == name)
}
