//! In: an `Admission` and a `Call`. Out: [`Outgoing`], the request as the backend will get it, or a refusal.
//! Here: the trait that sites implement, the direct API, header rules, splices.
//! Not here: limits, permissions, sockets.

mod adapter;
mod adapters;
mod ask;
mod cache;
mod context;
mod edits;
mod outgoing;
mod prepare;
mod script;

pub use adapter::{AdapterError, DirectApi, EndpointAdapter, ResponseContext};
pub use adapters::{Adapters, EndpointAdapters, HOOK_TIMEOUT, Workshop, adapt};
pub use ask::{Ask, AskError, Http, Question, REPLY_LIMIT, Reach, Reply};
pub use cache::Cache;
pub use context::RequestContext;
pub use outgoing::{Outgoing, Promise};
pub use prepare::injects_usage;
pub(crate) use script::{in_time, reply_to_dynamic};
