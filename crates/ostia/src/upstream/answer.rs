use crate::refusal::AnswerFault;
use http::response;
use ostia_core::Phase;

/// A backend's response: the head has arrived, the body is still on its way.
pub struct UpstreamResponse<B> {
    pub head: response::Parts,
    pub body: B,
    /// How many times the request was written to a socket: 2 if a reused connection turned out to be dead.
    pub sends: u32,
}

/// Why there is no response. `detail` is for the log.
#[derive(Debug)]
pub struct UpstreamFailure {
    pub kind: FailureKind,
    pub phase: Phase,
    /// Whether another endpoint may be tried without the risk of doing the work twice.
    pub retry_safe: bool,
    /// How many times bytes of the request may have reached the backend.
    pub sends: u32,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Name not found, connection refused or reset, no route, proxy refused.
    Unreachable,
    /// This machine has no file descriptor left for another connection. That is not the backend's fault.
    Exhausted,
    /// The TLS handshake or the certificate failed.
    Tls,
    /// No connection, or no response head, in time.
    Timeout,
    /// The backend closed the connection before the response head was complete.
    Closed,
    /// The backend did not speak HTTP, or switched protocols (101) unasked.
    Invalid,
}

/// Why a response body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the backend closed the connection before the answer was whole")]
    Closed,
    #[error("the backend's framing is broken")]
    Invalid,
}

impl From<BodyError> for AnswerFault {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Closed => Self::Closed,
            BodyError::Invalid => Self::Invalid,
        }
    }
}
