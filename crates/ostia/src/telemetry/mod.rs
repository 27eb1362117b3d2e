//! In: events of rooms. Out: log lines.
//! Here: the shape of log events, their rate limits, counters for metrics. Not here: decisions.

mod access;
mod error_counts;
mod figures;
pub mod log;
mod pace;
mod traces;

pub use access::AccessLog;
pub use error_counts::ErrorCounts;
pub use figures::{Counted, Figures, Histogram, ModelCounts, Reading, Recent, Series};
pub use pace::{Pace, Quiet};
pub use traces::{Arrived, Trace, TracedRequest, Traces};
