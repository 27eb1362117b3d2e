//! In: events of rooms. Out: log lines.
//! Here: the shape of log events, how often one is told. Not here: decisions; nothing here is on a request's path.

mod access;
pub mod log;
mod pace;

pub use access::{Access, AccessLog, log_access};
pub use pace::Pace;
