use bytes::Bytes;
use http::HeaderMap;

use crate::catalog::{Origin, Timeouts};

/// A request ready to be sent to a backend.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Another host than the deployment's own, already checked against its `allowed_hosts`.
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

impl Outgoing {
    pub fn body_length(&self) -> u64 {
        self.body.iter().map(|piece| piece.len() as u64).sum()
    }
}
