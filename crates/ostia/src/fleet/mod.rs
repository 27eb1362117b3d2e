//! In: what `admit`, `account`, `cluster` and probes see of each endpoint.
//! Out: one [`EndpointState`] per endpoint identity, for `rank`, lists and metrics; it survives a reload.
//! Not here: configuration, decisions.

mod breaker;
mod learned;
mod state;

pub use breaker::Breaker;
pub use learned::{Expected, Learned};
pub use state::{EndpointState, Fleet, InFlightGuard, ModelState};
