use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::CONNECTION;
use http::{HeaderName, HeaderValue, Request, Response, Version, request};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;
use ostia_core::RequestId;

use super::answer::{AnswerBody, Ending, ending};
use super::connection::Shared;
use super::guests::Held;
use super::head;
use super::http2::{StreamParts, StreamQueue};
use super::traffic::Traffic;
use super::{Drain, Guest, Handler, Inbound, Rejection, Stage, Tunnelled, Wire, origin_ip};
use crate::habits::{is_whole, may_hide_a_length, unread_body_noticed};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// The default, whose header value is a constant.
const USUAL_IDLE: Duration = Duration::from_secs(75);
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Serves one connection's requests, each from its parsed head to its response.
pub(super) struct Exchanges<H> {
    pub shared: Arc<Shared<H>>,
    pub peer_ip: IpAddr,
    pub guest: Arc<Guest>,
    pub traffic: Arc<Traffic>,
    pub protocol: Protocol,
}

pub(super) enum Protocol {
    Http1(Arc<Wire>),
    Http2(StreamQueue),
}

type ClientResponse<H> = Response<AnswerBody<<H as Handler>::Body>>;

impl<H: Handler> Service<Request<Incoming>> for Exchanges<H> {
    type Response = ClientResponse<H>;
    type Error = Infallible;
    /// Boxed, so that an idle connection reserves no memory for a request.
    type Future = Pin<Box<dyn Future<Output = Result<ClientResponse<H>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let has_odd_framing = self.traffic.request();
        let clock = &self.shared.clock;
        let received_unix_micros = clock.unix_micros();
        let (mut head, body) = request.into_parts();
        // Nothing else is ever upgraded, so handlers must not get the means to do it.
        if !Tunnelled::is_asked_for(&head.headers) {
            head.extensions.remove::<OnUpgrade>();
        }
        let (stream, wire) = match &self.protocol {
            Protocol::Http1(wire) => {
                wire.end_within(None);
                (None, Arc::clone(wire))
            }
            Protocol::Http2(queue) => {
                let parts = queue.announce();
                let wire = Arc::clone(&parts.wire);
                (Some(parts), wire)
            }
        };
        let rejection = match has_odd_framing {
            true => Some(Rejection::BadFraming),
            false => head::check(&head).err(),
        };
        let origin_ip = self.origin_ip(&head);
        let (share, rejection) = match self.share(origin_ip) {
            Err(too_many) => (None, rejection.or(Some(too_many))),
            Ok(share) => (share, rejection),
        };
        let exchange = Exchange {
            is_http1: head.version <= Version::HTTP_11,
            has_body: !is_whole(&body),
            keep_alive: keep_alive(&head, self.shared.options.announced_idle),
            may_hide_a_length: may_hide_a_length(&head.headers),
            drain: self.shared.drain.clone(),
            rejection,
            stream,
            ending: ending(Arc::clone(&self.traffic), share),
        };
        let inbound = Inbound {
            id: RequestId::at(received_unix_micros),
            client_request_id: head::client_request_id(&head.headers),
            origin_ip,
            guest: Arc::clone(&self.guest),
            head,
            body,
            peer_ip: self.peer_ip,
            received: clock.now(),
            received_unix_micros,
            wire,
        };
        let handler = Arc::clone(&self.shared.handler);
        Box::pin(exchange.run(handler, inbound).map(Ok))
    }
}

impl<H: Handler> Exchanges<H> {
    fn origin_ip(&self, head: &request::Parts) -> IpAddr {
        let lines = head.headers.get_all(X_FORWARDED_FOR);
        let trusted = &self.shared.options.trusted_proxies;
        origin_ip(self.peer_ip, lines.iter(), trusted)
    }

    /// Behind a trusted proxy an address has no connections to count, so its requests are counted.
    fn share(&self, origin: IpAddr) -> Result<Option<Held>, Rejection> {
        let options = &self.shared.options;
        if origin == self.peer_ip || !options.has_share(origin) {
            return Ok(None);
        }
        let most = options.share();
        let share = options.connections.guest(origin).request(most);
        share.map(Some).ok_or(Rejection::TooMany { most })
    }
}

/// On HTTP/1.1 a connection is kept unless the client says otherwise (RFC 9112 section 9.3).
fn keep_alive(head: &request::Parts, idle: Duration) -> Option<Duration> {
    let lines = head.headers.get_all(CONNECTION).iter();
    let mut options = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let is_kept = head.version == Version::HTTP_11
        && !options.any(|option| option.trim().eq_ignore_ascii_case("close"));
    (is_kept && !idle.is_zero()).then_some(idle)
}

/// In whole seconds. Less than a second is announced as 0.
fn announced(idle: Duration) -> HeaderValue {
    if idle == USUAL_IDLE {
        return HeaderValue::from_static("timeout=75");
    }
    let text = format!("timeout={}", idle.as_secs());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("timeout=0"))
}

struct Exchange {
    is_http1: bool,
    has_body: bool,
    /// How long the connection will be kept, if it will.
    keep_alive: Option<Duration>,
    may_hide_a_length: bool,
    drain: Drain,
    rejection: Option<Rejection>,
    stream: Option<StreamParts>,
    ending: Ending,
}

impl Exchange {
    async fn run<H: Handler>(self, handler: Arc<H>, inbound: Inbound) -> ClientResponse<H> {
        let id = inbound.id;
        let client_id = inbound.client_request_id.clone();
        let wire = Arc::clone(&inbound.wire);
        let mut response = match self.rejection {
            Some(rejection) => handler.reject(inbound, rejection),
            None => handler.handle(inbound).await,
        };
        self.mark(&mut response, id, client_id.as_deref());
        if self.is_http1 && self.has_body && !response.status().is_success() {
            unread_body_noticed().await;
        }
        let Some(stream) = self.stream else {
            return response.map(|body| AnswerBody::http1(body, wire, self.ending));
        };
        stream.flow.answered();
        response.map(|body| AnswerBody::http2(body, wire, stream.flow, self.ending))
    }

    fn mark<B>(&self, response: &mut Response<B>, id: RequestId, client_id: Option<&str>) {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(id.encode(&mut [0; 36])) {
            headers.insert(X_REQUEST_ID, id);
        }
        if let Some(Ok(id)) = client_id.map(HeaderValue::from_str) {
            headers.insert(X_CLIENT_REQUEST_ID, id);
        }
        let leaves = self.drain.stage() >= Stage::Leaving;
        // After two conflicting lengths, the start of the next request is unknown (RFC 9112 section 6.1).
        if self.is_http1 && (leaves || self.may_hide_a_length || self.rejection.is_some()) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        } else if let Some(idle) = self.keep_alive {
            headers.insert(KEEP_ALIVE, announced(idle));
        }
    }
}
