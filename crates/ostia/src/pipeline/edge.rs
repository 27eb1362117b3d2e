use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Response, StatusCode, header, request};
use ostia_core::RequestId;

use super::answer;
use super::early::{Early, EarlyBody, First};
use super::lasting::Work;
use crate::admit::Unanswered;
use crate::dialect::{Api, Dialect, PLAIN};
use crate::errors::{limit_headers, queue_header};
use crate::gateway::{Gateway, NO_ROUTE, begin_access, empty_answer, logged};
use crate::listen::{Handler, Inbound, Rejection};
use crate::live::Live;
use crate::refusal::{Blame, Refusal, known_code};
use crate::relay::ClientBody;
use crate::routes::{Lost, Route};
use crate::telemetry::AccessLog;

impl Handler for Gateway {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, inbound: Inbound) -> Response<ClientBody> {
        let live = self.live();
        let upstream = &live.settings.upstream;
        let (after, pause) = (upstream.send_headers_after, upstream.keepalive_comment);
        let wire = Arc::clone(&inbound.wire);
        let early = Early::default();
        let serving = serve(Arc::clone(&self), live, inbound, early.clone());
        let work = Work::new(serving, early.outlasting.clone());
        let Some(after) = after else {
            return work.await.into_response();
        };
        match early.first(work, after).await {
            First::Served(served) => served.into_response(),
            First::Due(work) => EarlyBody::begin(work, wire, pause),
        }
    }

    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<ClientBody> {
        let refusal = Refusal::from(rejection);
        note(self, inbound.id, &refusal);
        let mut access = begin_access(&inbound, NO_ROUTE, &self.clock);
        access.refused(&refusal);
        logged(refusal.into_response(PLAIN), access)
    }
}

/// The dialect of errors. If the path belongs to none, Anthropic's clients are recognized by the header that they
/// always send.
fn dialect_of(route: &Result<Route<'_>, Lost>, headers: &HeaderMap) -> &'static dyn Dialect {
    let own = route.as_ref().map_or_else(Lost::dialect, Route::dialect);
    match route {
        Ok(Route::Inference(_)) => own,
        _ if headers.contains_key("anthropic-version") => Api::parse("messages").dialect(),
        _ => own,
    }
}

/// A request that was processed, before its answer is written.
pub(super) struct Served {
    gateway: Arc<Gateway>,
    id: RequestId,
    outcome: Result<Response<ClientBody>, Refusal>,
    dialect: &'static dyn Dialect,
    cors: HeaderMap,
    access: AccessLog,
}

/// What every response gets: the route's name in the access event, CORS headers, and the end that a shutdown may
/// impose. It owns all that it needs, because it may go on after a head was sent early.
async fn serve(
    gateway: Arc<Gateway>,
    live: Arc<Live>,
    mut inbound: Inbound,
    early: Early,
) -> Served {
    let path = inbound.head.uri.path().to_owned();
    let route = Route::find(&inbound.head.method, &path, &live.settings.server.base_path);
    let dialect = dialect_of(&route, &inbound.head.headers);
    let preflight = live.cors.is_preflight(&inbound.head);
    let cors = match preflight {
        true => live.cors.preflight(&inbound.head.headers),
        false => live.cors.answer(&inbound.head.headers),
    };
    let name = match preflight {
        true => "preflight",
        false => route.as_ref().map_or(NO_ROUTE, Route::name),
    };
    let (id, wire) = (inbound.id, Arc::clone(&inbound.wire));
    let mut access = begin_access(&inbound, name, &gateway.clock);
    let answering = guarded(answer(
        &gateway,
        &live,
        &mut inbound,
        route,
        &mut access,
        &early,
    ));
    let outcome = tokio::select! {
        biased;
        () = std::future::ready(()), if preflight => Ok(empty_answer()),
        answered = answering => answered.unwrap_or_else(Err),
        () = wire.given_up() => Err(Refusal::shutting_down()),
    };
    Served {
        gateway,
        id,
        outcome,
        dialect,
        cors,
        access,
    }
}

impl Served {
    fn into_response(mut self) -> Response<ClientBody> {
        let mut response = self.outcome.unwrap_or_else(|refusal| {
            note(&self.gateway, self.id, &refusal);
            self.access.refused(&refusal);
            refusal.into_response(self.dialect)
        });
        response.headers_mut().extend(self.cors);
        logged(response, self.access)
    }

    /// What a client that already has its head can still get: a body, or a refusal in its dialect.
    pub(super) fn early(self) -> (&'static dyn Dialect, Result<Response<ClientBody>, Refusal>) {
        let mut access = self.access;
        let outcome = match self.outcome {
            Ok(response) => Ok(logged(response, access)),
            Err(refusal) => {
                note(&self.gateway, self.id, &refusal);
                access.status(StatusCode::OK);
                access.refused(&refusal);
                Err(refusal)
            }
        };
        (self.dialect, outcome)
    }
}

/// A panic is reported like any other refusal and ends only its own request.
fn guarded<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, Refusal>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    work.map(|outcome| outcome.map_err(|_| Refusal::internal_error()))
}

/// Whether a client asks for a WebSocket. No route supports that; the client is told so at once, and continues with
/// POST.
pub(super) fn wants_websocket(head: &request::Parts) -> bool {
    let named = head.headers.get_all(header::UPGRADE).iter();
    let mut protocols = named
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    head.method == Method::GET
        && protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// Whether the query asks for a stored response as a stream.
pub(super) fn asks_for_stream(head: &request::Parts) -> bool {
    let query = head.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "stream" && value != "false")
}

/// Ends a request that no backend answered.
pub(super) async fn refuse(unanswered: Unanswered, refusal: Refusal) -> Refusal {
    let refusal = refusal
        .at(&unanswered.deployment().slug)
        .with_headers(limit_headers(unanswered.standing()))
        .with_headers(queue_header(unanswered.waited()).into_iter().collect());
    let (status, code) = (refusal.status.as_u16(), refusal.code.clone());
    unanswered.close(status, code, refusal.outcome).await;
    refusal
}

/// Counts a refusal, and logs its private side: once, with the request id.
fn note(gateway: &Gateway, id: RequestId, refusal: &Refusal) {
    gateway.errors.count(known_code(&refusal.code));
    let (status, code) = (refusal.status.as_u16(), &*refusal.code);
    let detail = refusal.detail.as_deref().unwrap_or_default();
    match refusal.blame {
        Blame::Client => {
            tracing::debug!(request_id = %id, status, code, detail, "refused");
        }
        _ => tracing::warn!(request_id = %id, status, code, detail, "failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[tokio::test]
    async fn a_panic_becomes_an_error_of_the_gateway_s_own() {
        let refusal = guarded(async { panic!("private") }).await.map(|(): ()| ());
        let refusal = refusal.unwrap_err();
        assert_eq!(
            (refusal.status.as_u16(), &*refusal.code),
            (500, "internal_error")
        );
        assert_eq!(refusal.kind, "server_error");
        assert!(!refusal.message.contains("private"));
        assert_eq!(guarded(async { 7 }).await.unwrap(), 7);
    }
}
