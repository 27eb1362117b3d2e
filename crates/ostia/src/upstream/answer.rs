use crate::refusal::AnswerFault;
use http::response;
use ostia_core::Phase;

/// A backend's answer: the head is here, the body still comes.
pub struct UpstreamResponse<B> {
    pub head: response::Parts,
    pub body: B,
    /// How often the request was written to a socket: 2 after a reused connection had gone stale.
    pub sends: u32,
}

/// Why there is no answer. `detail` is for the log.
#[derive(Debug)]
pub struct UpstreamFailure {
    pub kind: FailureKind,
    pub phase: Phase,
    /// Whether another endpoint may be tried without the risk of doing the work twice.
    pub retry_safe: bool,
    /// How often bytes of the request may have reached the backend.
    pub sends: u32,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Name not found, connection refused or reset, no route, proxy refused.
    Unreachable,
    /// The TLS handshake or the certificate failed.
    Tls,
    /// No connection, or no head of an answer, in time.
    Timeout,
    /// The backend closed the connection before an answer's head was whole.
    Closed,
    /// What came was not HTTP, or an answer nobody asked for (101).
    Invalid,
}

/// Why an answer's body ended early.
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
