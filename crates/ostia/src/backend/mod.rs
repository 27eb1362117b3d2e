//! In: an `Attempt` and a `Call`. Out: an [`Answer`] (head, bytes, what was promised) or a [`Failure`].
//! Here: the trait of backends, the direct API, the hooks of sites around any backend, header rules, splices.
//! Not here: limits, permissions, sockets, what the bytes mean.
//!
//! To add a kind of backend:
//!
//! 1. In a file of its own, implement [`Backend`]: `open` reads the entry's `config` and reports mistakes in it, `call`
//!    gets the response.
//! 2. Register its name: in `Registry::default` (`registry.rs`), or from a site's `main.rs` with
//!    `Gateway::builder().backend`.
//! 3. Put that name into the fixture's `endpoint_adapter` or, if that already names hooks, into `config.backend`.
//! 4. If it reads keys of its own, list them in docs/adapters.md.

mod answer;
mod backends;
mod context;
mod direct;
mod draft;
mod edits;
mod entry;
mod exchange;
mod headers;
mod hooked;
mod hooks;
mod leased;
mod prepare;
mod registry;
mod replicas;
mod response;
mod script;
mod seal;

use async_trait::async_trait;
use http::Response;

pub use answer::{Answer, AnswerBody, Failure, TurnedAway};
pub use backends::{Backends, Request, Workshop};
pub use context::RequestContext;
pub use direct::DirectApi;
pub use entry::{Entry, Severity};
pub use exchange::Exchange;
pub use headers::{is_never_forwarded, is_set_by_the_gateway};
pub use hooked::HOOK_TIMEOUT;
pub use hooks::{AdapterError, EndpointAdapter};
pub use leased::Leased;
pub use prepare::{injects_usage, streams_surely};
pub use registry::{DIRECT_API, Registry};
pub use response::ResponseContext;
pub(crate) use script::{faults as script_faults, in_time, reply_to_dynamic};

/// What serves an endpoint's requests.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Builds a backend from an endpoint's entry, including its whole `config`. Report mistakes in its own keys with
    /// [`Entry::error`], which adds their place in the file. Return `None` only after an error.
    ///
    /// It runs whenever the files are read, also by `ostia check`, so it must not connect to anything or wait.
    fn open(entry: &mut Entry<'_>) -> Option<Self>
    where
        Self: Sized;

    /// Gets the response to one request. Dropping the returned future or the response's body must end the work, because
    /// the client has gone away.
    async fn call(&self, exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure>;
}
