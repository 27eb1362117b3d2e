//! In: what `admit`, `account`, `cluster` and probes learn about each endpoint.
//! Out: one [`EndpointState`] per endpoint, for `rank`, lists and metrics. It survives a reload.
//! Not here: configuration, decisions.

mod away;
mod best_point;
mod breaker;
mod chance;
mod engine;
mod learned;
mod leases;
mod model_state;
mod prefixes;
mod state;
mod states;
mod timeline;
mod warmth;

pub use best_point::{BestPoint, Counts, Report};
pub use breaker::Breaker;
pub use engine::EngineFacts;
pub use learned::{Expected, Learned};
pub use leases::{Leases, Replica, ReplicaPlace};
pub use model_state::ModelState;
pub use prefixes::Prefixes;
pub use state::{EndpointState, InFlightGuard};
pub use states::Fleet;
