//! In: an `Admission`, a `Receipt` and a `Call`. Out: an [`Answer`] (its head, its bytes, what was promised) or a [`Failure`].
//! Here: the trait of backends, the direct API, the hooks of sites around any backend, header rules, splices.
//! Not here: limits, permissions, sockets, what the bytes mean.
//!
//! To add a kind of backend:
//!
//! 1. In a file of its own, implement [`Backend`]: `open` reads the entry's `config` and reports mistakes in it, `call`
//!    gets the answer.
//! 2. Name it: in `Registry::default` (`registry.rs`), or from a site's `main.rs` with `Gateway::builder().backend`.
//! 3. Put that name into the fixture's `endpoint_adapter`, or, where hooks stand there, into `config.backend`.
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
mod prepare;
mod registry;
mod replicas;
mod response;
mod script;
mod seal;

use async_trait::async_trait;
use http::Response;

pub use answer::{Answer, AnswerBody, Failure};
pub use backends::{Backends, Request, Workshop};
pub use context::RequestContext;
pub use direct::DirectApi;
pub use entry::{Entry, Severity};
pub use exchange::Exchange;
pub use headers::{is_never_forwarded, is_set_by_the_gateway};
pub use hooked::HOOK_TIMEOUT;
pub use hooks::{AdapterError, EndpointAdapter};
pub use prepare::injects_usage;
pub use registry::{DIRECT_API, Registry};
pub use response::ResponseContext;
pub(crate) use script::{faults as script_faults, in_time, reply_to_dynamic};

/// What answers for an endpoint.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Makes one of an endpoint's entry, whose whole `config` it sees. Mistakes in the keys that are its own go to
    /// [`Entry::error`], which tells them with their place. `None` only after an error.
    ///
    /// It runs at every reading of the files, by `ostia check` too: it opens nothing and waits for nothing.
    fn open(entry: &mut Entry<'_>) -> Option<Self>
    where
        Self: Sized;

    /// Gets the answer to one request. Dropping what this gives, or the answer's body, must end the work: the client
    /// has gone away then.
    async fn call(&self, exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure>;
}
