//! What is served: routes that a host can mount, and a server of heapward's own.

mod answer;
mod bound;
mod diff_json;
mod diff_text;
mod guard;
mod handlers;
mod impatient;
mod json;
mod monitoring;
mod pprof;
mod query;
mod render;
mod routes;
mod runs;
mod server;
mod table;

pub use routes::{RouteService, Routes};

pub(crate) use bound::Bound;
