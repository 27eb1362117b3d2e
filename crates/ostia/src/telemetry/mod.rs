//! In: counters that rooms keep anyway. Out: metrics in OpenMetrics text, log lines.
//! Here: names of metrics, the shape of log events. Not here: decisions; nothing here is on a request's path.

mod access;
pub mod log;
mod metrics;
mod pace;

pub use access::{Access, AccessLog, log_access};
pub use metrics::{FAMILIES, Family, FamilyKind, metrics_text};
pub use pace::Pace;
