//! In: events of rooms. Out: log lines.
//! Here: the shape of log events, how often one is told. Not here: decisions; nothing here is on a request's path.

mod access;
mod error_counts;
pub mod log;
mod pace;

pub use access::{Access, AccessLog, log_access};
pub use error_counts::ErrorCounts;
pub use pace::{Pace, Quiet};
