//! In: an `Admission` and a `Call`. Out: an [`crate::upstream::Outgoing`], the request as the backend will get it, or a refusal.
//! Here: the trait that sites implement, the direct API, header rules, splices.
//! Not here: limits, permissions, sockets.

mod adapter;
mod adapters;
mod context;
mod edits;
mod prepare;
mod script;

pub use adapter::{AdapterError, DirectApi, EndpointAdapter, ResponseContext};
pub use adapters::{Adapters, EndpointAdapters, HOOK_TIMEOUT, Workshop, adapt};
pub use context::RequestContext;
pub use prepare::injects_usage;
pub(crate) use script::{in_time, reply_to_dynamic};
