//! In: requests on the admin listener. Out: health, metrics, and what operators may change.
//! Here: routes of the admin listener; it is a listener like the public one, with its own small limits.
//! Not here: anything users call.

mod hosts;
mod metrics;
mod ready;
mod server;

pub use metrics::{FAMILIES, Family, FamilyKind, metrics_text};
pub use server::serve;
