use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use ostia_core::Phase;

use super::AdapterError;
use crate::fleet::ReplicaPlace;
use crate::upstream::{self, BodyError, FailureKind, Promise, UpstreamBody};

/// A longer refusal is not shown to clients either.
const LONGEST_HELD: usize = 64 * 1024;
const HOLDING: Duration = Duration::from_secs(1);

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

/// A backend's answer that it takes nothing for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnedAway {
    /// How long it says that this lasts.
    pub for_so_long: Option<Duration>,
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
    /// The same from an engine that has a lease, which counts the request to its end.
    Leased(UpstreamBody, ReplicaPlace),
    Other(Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Answer {
    /// Whether the backend says that it takes nothing for now. It has done nothing then, and another one may be asked.
    /// `now`: the wall clock.
    pub fn turned_away(&self, now: SystemTime) -> Option<TurnedAway> {
        let says_no = matches!(self.head.status.as_u16(), 429 | 503 | 529);
        says_no.then(|| TurnedAway {
            for_so_long: retry_after(&self.head.headers, now),
        })
    }

    /// Reads a short body now, so that its connection is free while the request waits.
    pub async fn hold(&mut self) {
        let body = std::mem::replace(&mut self.body, AnswerBody::whole(Bytes::new()));
        let reading = Limited::new(body, LONGEST_HELD).collect();
        if let Ok(Ok(whole)) = tokio::time::timeout(HOLDING, reading).await {
            self.body = AnswerBody::whole(whole.to_bytes());
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), or in milliseconds, as some providers have it.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    if let Some(wait) = millis.and_then(|millis| seconds(millis / 1_000.0)) {
        return Some(wait);
    }
    let named = text("retry-after")?;
    if let Ok(named) = named.parse::<f64>() {
        return seconds(named);
    }
    let at = httpdate::parse_http_date(named).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// `None` for negative numbers and NaN.
fn seconds(named: f64) -> Option<Duration> {
    let is_time = named >= 0.0;
    is_time.then(|| Duration::try_from_secs_f64(named).unwrap_or(Duration::MAX))
}

impl AnswerBody {
    /// The same, which counts on an engine that has a lease.
    pub(super) fn counted(self, place: ReplicaPlace) -> Self {
        match self {
            Self::Http(body) => Self::Leased(body, place),
            other => other,
        }
    }

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
            Self::Http(body) | Self::Leased(body, _) => Pin::new(body).poll_frame(cx),
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
            Self::Http(body) | Self::Leased(body, _) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) | Self::Leased(body, _) => body.size_hint(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_saying_when_to_come_again_is_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |name: &'static str, value: &str| {
            let headers = [(http::HeaderName::from_static(name), value.parse().unwrap())];
            retry_after(&HeaderMap::from_iter(headers), now)
        };
        for (name, value, millis) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", " 7 ", Some(7_000)),
            ("retry-after", "+7", Some(7_000)),
            ("retry-after", "0", Some(0)),
            ("retry-after", "1.5", Some(1_500)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            (
                "retry-after",
                "Sunday, 06-Nov-94 08:49:47 GMT",
                Some(10_000),
            ),
            ("retry-after", "Sun Nov  6 08:49:47 1994", Some(10_000)),
            ("retry-after", "Sun, 31 Feb 1994 08:49:47 GMT", None),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after-ms", "-250", None),
            ("retry-after", "soon", None),
            ("retry-after", "-3", None),
            ("retry-after", "NaN", None),
            ("retry-after", "", None),
            ("retry-after", "7, 8", None),
        ] {
            let read = read(name, value);
            assert_eq!(read, millis.map(Duration::from_millis), "{name}: {value}");
        }
        for endless in ["1e300", "inf", "99999999999999999999999999"] {
            assert_eq!(
                read("retry-after", endless),
                Some(Duration::MAX),
                "{endless}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
        // Where one of the two says nothing, the other counts.
        let both = ["retry-after-ms", "retry-after"].map(http::HeaderName::from_static);
        let values = ["-1", "7"].map(|value| value.parse().unwrap());
        let headers = HeaderMap::from_iter(both.into_iter().zip(values));
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(7)));
    }
}
