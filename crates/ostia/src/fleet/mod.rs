//! In: what `admit`, `account`, `cluster` and probes learn about each endpoint.
//! Out: one [`EndpointState`] per endpoint, for `rank`, lists and metrics. It survives a reload.
//! Not here: configuration, decisions.

mod best_point;
mod breaker;
mod learned;
mod state;

pub use best_point::{BestPoint, Counts, Report};
pub use breaker::Breaker;
pub use learned::{Expected, Learned};
pub use state::{EndpointState, Fleet, InFlightGuard, ModelState};
