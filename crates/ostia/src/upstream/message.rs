use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION};
use http::uri::{self, Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::{Body, Frame, SizeHint};

use crate::catalog::{Origin, Scheme};

/// What requests to one origin need to name it.
pub(super) struct OriginParts {
    scheme: uri::Scheme,
    authority: Authority,
    host: HeaderValue,
    /// Set if requests pass a proxy unencrypted: they then carry absolute URLs and, if it wants them, the proxy's
    /// credentials.
    forwarded: Option<Option<HeaderValue>>,
}

/// A request that is not bound to a connection yet.
#[derive(Clone)]
pub(super) struct Message {
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    body: Vec<Bytes>,
}

/// The path, a header or the origin is not valid in an HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be written as HTTP")]
pub(super) struct Unwritable;

impl OriginParts {
    /// `forwarded`: set if a proxy forwards requests unencrypted, with the credentials it wants.
    pub(super) fn new(
        origin: &Origin,
        forwarded: Option<Option<HeaderValue>>,
    ) -> Result<Self, Unwritable> {
        let text = origin.authority();
        let host = HeaderValue::try_from(&text).map_err(|_| Unwritable)?;
        Ok(Self {
            scheme: match origin.scheme {
                Scheme::Http => uri::Scheme::HTTP,
                Scheme::Https => uri::Scheme::HTTPS,
            },
            authority: Authority::try_from(text).map_err(|_| Unwritable)?,
            host,
            forwarded,
        })
    }

    fn absolute(&self, path: PathAndQuery) -> Result<Uri, Unwritable> {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| Unwritable)
    }
}

impl Message {
    /// `headers` must not hold `host` and `content-length`.
    pub(super) fn new(
        method: Method,
        path_and_query: String,
        headers: HeaderMap,
        body: Vec<Bytes>,
    ) -> Result<Self, Unwritable> {
        if !path_and_query.starts_with('/') {
            return Err(Unwritable);
        }
        Ok(Self {
            method,
            path: PathAndQuery::try_from(path_and_query).map_err(|_| Unwritable)?,
            headers,
            body,
        })
    }

    /// For HTTP/1.1: origin form, or absolute form to a proxy (RFC 9112 section 3.2).
    pub(super) fn into_http1(
        mut self,
        parts: &OriginParts,
    ) -> Result<Request<OutBody>, Unwritable> {
        self.headers.insert(HOST, parts.host.clone());
        let uri = match &parts.forwarded {
            None => Uri::from(self.path.clone()),
            Some(credentials) => {
                if let Some(credentials) = credentials {
                    self.headers
                        .insert(PROXY_AUTHORIZATION, credentials.clone());
                }
                parts.absolute(self.path.clone())?
            }
        };
        Ok(self.into_request(uri, Version::HTTP_11))
    }

    /// For HTTP/2: `:authority` instead of `host` (RFC 9113 section 8.3.1).
    pub(super) fn into_http2(self, parts: &OriginParts) -> Result<Request<OutBody>, Unwritable> {
        let uri = parts.absolute(self.path.clone())?;
        Ok(self.into_request(uri, Version::HTTP_2))
    }

    fn into_request(self, uri: Uri, version: Version) -> Request<OutBody> {
        let body = OutBody::new(self.body);
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = self.headers;
        if request.method() != Method::GET {
            let length = HeaderValue::from(request.body().left);
            request.headers_mut().insert(CONTENT_LENGTH, length);
        }
        request
    }
}

/// A request body, sent piece by piece without joining the pieces.
pub(super) struct OutBody {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
    gauge: Option<Arc<AtomicU64>>,
}

impl OutBody {
    fn new(pieces: Vec<Bytes>) -> Self {
        Self {
            left: pieces.iter().map(|piece| piece.len() as u64).sum(),
            pieces: pieces.into_iter(),
            gauge: None,
        }
    }

    /// A gauge of the bytes that the connection has not taken yet.
    pub(super) fn gauge(&mut self) -> Arc<AtomicU64> {
        let gauge = Arc::new(AtomicU64::new(self.left));
        self.gauge = Some(Arc::clone(&gauge));
        gauge
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let piece = this.pieces.find(|piece| !piece.is_empty());
        if let Some(piece) = &piece {
            this.left -= piece.len() as u64;
        }
        if let Some(gauge) = &this.gauge {
            gauge.store(this.left, Ordering::Relaxed);
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(scheme: Scheme, host: &str, forwarded: Option<Option<HeaderValue>>) -> OriginParts {
        let origin = Origin {
            scheme,
            host: host.into(),
            port: 8080,
        };
        OriginParts::new(&origin, forwarded).unwrap()
    }

    fn post(path: &str) -> Message {
        let body = vec![
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from_static(b"c"),
        ];
        Message::new(Method::POST, path.to_owned(), HeaderMap::new(), body).unwrap()
    }

    #[test]
    fn the_form_follows_the_way() {
        let direct = parts(Scheme::Http, "::1", None);
        let request = post("/v1/x?a=b").into_http1(&direct).unwrap();
        assert_eq!(request.uri(), "/v1/x?a=b");
        assert_eq!(request.headers()[HOST], "[::1]:8080");
        assert_eq!(request.headers()[CONTENT_LENGTH], "3");

        let credentials = HeaderValue::from_static("Basic x");
        let proxied = parts(Scheme::Http, "gpu", Some(Some(credentials)));
        let request = post("/v1/x").into_http1(&proxied).unwrap();
        assert_eq!(request.uri(), "http://gpu:8080/v1/x");
        assert_eq!(request.headers()[PROXY_AUTHORIZATION], "Basic x");

        let request = post("/")
            .into_http2(&parts(Scheme::Https, "gpu", None))
            .unwrap();
        assert_eq!(request.uri(), "https://gpu:8080/");
        assert!(!request.headers().contains_key(HOST));
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for bad in ["", "v1", "http://x/", "/a b", "/a\r\nx: y"] {
            let message = Message::new(Method::GET, bad.to_owned(), HeaderMap::new(), vec![]);
            assert!(message.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pieces_come_in_order_and_empty_ones_not_at_all() {
        let mut body = post("/")
            .into_request(Uri::default(), Version::HTTP_11)
            .into_body();
        let gauge = body.gauge();
        let mut seen = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
            seen.push(frame.into_data().unwrap());
        }
        assert_eq!(seen, ["ab", "c"]);
        assert!(body.is_end_stream());
        assert_eq!(gauge.load(Ordering::Relaxed), 0);
    }
}
