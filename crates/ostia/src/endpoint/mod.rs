//! In: an `Admission` and a `Call`. Out: [`Outgoing`], the request as the backend will get it, or a refusal.
//! Here: the trait that sites implement, the direct API, header rules, splices.
//! Not here: limits, permissions, sockets.

mod adapter;
mod adapters;
mod outgoing;
mod prepare;

pub use adapter::{AdapterError, EndpointAdapter, RequestContext};
pub use adapters::{Adapters, adapt};
pub use outgoing::Outgoing;
pub use prepare::injects_usage;
