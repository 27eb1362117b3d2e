use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use ostia_core::Phase;

use super::AdapterError;
use crate::upstream::{self, BodyError, FailureKind, Promise, UpstreamBody};

/// A backend's response: the head has arrived, the body is still on its way.
pub struct Answer {
    /// The head, with the changes that the endpoint's hooks made.
    pub head: response::Parts,
    pub body: AnswerBody,
    /// The backend's own status.
    pub status: StatusCode,
    /// Headers that hooks add to the client's response.
    pub shown: HeaderMap,
    pub promise: Promise,
}

/// Why there is no [`Answer`].
#[derive(Debug)]
pub enum Failure {
    /// The endpoint's hooks or its backend refused the request or failed. No other endpoint is tried.
    Refused(AdapterError),
    /// The work was not done, or it is unknown whether it was: how far it came, and whether a retry is safe.
    Broken(upstream::UpstreamFailure),
}

/// The bytes of a response: straight from a connection, or from wherever another kind of backend gets them. Dropping it
/// early tells the backend that nobody reads on.
pub enum AnswerBody {
    Http(UpstreamBody),
    Other(Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl AnswerBody {
    /// A body that is complete from the start.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::new(Full::new(bytes.into()).map_err(|never| match never {}))
    }

    /// A body from another kind of backend. A panic in it breaks only this response.
    pub fn new(body: impl Body<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Self::Other(Box::pin(body))
    }
}

impl Failure {
    /// The backend could not do the work. `detail` is for the log.
    pub fn broken(
        kind: FailureKind,
        phase: Phase,
        retry_safe: bool,
        detail: impl Into<String>,
    ) -> Self {
        Self::Broken(upstream::UpstreamFailure {
            kind,
            phase,
            retry_safe,
            sends: 0,
            detail: detail.into(),
        })
    }

    /// Whether another endpoint may be tried without the risk of doing the work twice.
    pub fn retry_safe(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Broken(failure) => failure.retry_safe,
        }
    }
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        Self::Refused(error)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Http(body) => Pin::new(body).poll_frame(cx),
            Self::Other(body) => {
                let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(cx)));
                polled.unwrap_or_else(|_| {
                    tracing::error!("a backend panicked while sending its response");
                    Poll::Ready(Some(Err(BodyError::Closed)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http(body) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) => body.size_hint(),
            Self::Other(body) => body.size_hint(),
        }
    }
}
