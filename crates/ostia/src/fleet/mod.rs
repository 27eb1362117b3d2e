//! In: what `admit`, `account`, `cluster` and probes see of each endpoint, and `relay` of responses.
//! Out: one [`EndpointState`] per endpoint identity, for `rank`, lists and metrics, and [`Responses`]; both survive a reload.
//! Not here: configuration, decisions.

mod breaker;
mod responses;
mod state;

pub use breaker::Breaker;
pub use responses::Responses;
pub use state::{EndpointState, Fleet, ModelState};
