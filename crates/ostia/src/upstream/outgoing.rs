use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::catalog::{Origin, Timeouts};

/// A request, ready to be sent to a backend.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub method: Method,
    /// A host other than the deployment's own, already checked against its `allowed_hosts`.
    pub origin: Option<Origin>,
    /// Absolute path and query.
    pub path_and_query: String,
    /// Everything but `host` and `content-length`.
    pub headers: HeaderMap,
    /// The body's pieces, in order.
    pub body: Vec<Bytes>,
    pub timeouts: Timeouts,
    /// Whether the client was promised a stream.
    pub stream: bool,
}

/// The part of an [`Outgoing`] that the relay needs after it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Whether the client gets a stream.
    pub stream: bool,
    pub timeouts: Timeouts,
}

impl Outgoing {
    pub fn promise(&self) -> Promise {
        Promise {
            stream: self.stream,
            timeouts: self.timeouts,
        }
    }
}
