use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Response, request};
use hyper::body::Incoming;
use ostia_core::RequestId;

use super::{Guest, Wire};

/// A request whose head has arrived and is valid. The body is still in the socket.
pub struct Inbound {
    pub id: RequestId,
    /// The caller's own `X-Request-Id` or `X-Client-Request-Id`, if it is printable ASCII of at most 128 characters.
    pub client_request_id: Option<Arc<str>>,
    pub head: request::Parts,
    pub body: Incoming,
    /// The socket's other end; loopback for a Unix socket.
    pub peer_ip: IpAddr,
    /// The right-most hop that is not a trusted proxy.
    pub origin_ip: IpAddr,
    /// The peer, as the access log counts it.
    pub guest: Arc<Guest>,
    pub received: Instant,
    pub received_unix_micros: i64,
    pub wire: Arc<Wire>,
}

/// Why a request is refused before anyone asks who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the Host header is missing, repeated, malformed or does not match the request target")]
    BadHost,
    #[error("the request target has a form that this method does not allow")]
    BadTarget,
    #[error("the request target is longer than {0} bytes")]
    UriTooLong(usize),
    #[error("the method is not supported")]
    MethodNotAllowed,
    #[error("the request's framing is ambiguous")]
    BadFraming,
    #[error("the address has {most} requests at a time, as many as it may")]
    TooMany { most: usize },
    #[error("Expect holds something other than 100-continue")]
    ExpectationFailed,
}

/// A body that cannot be completed. Yielding this error has the same effect as [`Wire::cut`]: the listener turns it
/// into a cut, because hyper would discard what it still holds.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the response is cut short")]
pub struct BodyBroken;

/// Answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    type Body: http_body::Body<Data = Bytes, Error = BodyBroken> + Send + 'static;

    /// Answers a valid request. The future is dropped when the client goes away.
    fn handle(
        self: Arc<Self>,
        inbound: Inbound,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The immediate answer to an invalid request.
    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<Self::Body>;
}
