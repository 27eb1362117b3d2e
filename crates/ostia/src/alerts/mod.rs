//! In: the [`crate::gateway::Gateway`]. Out: what its operators are told: alerts that fire and resolve, a sign of life, a
//! report.
//! Here: what counts as trouble, how long it lasts before somebody is told, and to whom it goes.
//! Not here: health of endpoints itself (`fleet`, `cluster`), texts for users.

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
