//! In: the [`crate::gateway::Gateway`]. Out: messages to its operators: alerts that fire and resolve, a heartbeat, a
//! report. Here: what counts as a problem, how long it must last before it is reported, and to whom. Not here:
//! health of endpoints itself (`fleet`, `cluster`), texts for users.

mod change;
mod damper;
mod disk;
mod keys;
mod look;
mod mail;
mod outbox;
mod report;
mod share;
mod watch;
mod window;

pub use change::{Change, Severity, Trouble};
pub use watch::Alerts;
