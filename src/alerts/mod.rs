//! Alerts: what is told of one, and the thread that sends it to the log, to a webhook and to Alertmanager.
//!
//! The watcher hands alerts in and goes on; everything that can take time is done here.

mod alert;
mod alertmanager;
mod client;
mod courier;
mod desk;
mod evidence;
mod findings;
mod ledger;
mod log;
mod message;
mod outbox;
mod schedule;
mod settings;
mod target;
#[cfg(test)]
mod testing;

pub use alert::{Alert, AlertState};
pub use findings::{AlertLeaks, AlertSite, AlertSuspect};
pub use ledger::{AlertDeliveries, AlertReport};

pub(crate) use courier::run;
pub(crate) use desk::Desk;
pub(crate) use findings::Findings;
pub(crate) use ledger::{Counts, SINKS};
pub(crate) use settings::{AlertSettings, Labels};
pub(crate) use target::Target;
