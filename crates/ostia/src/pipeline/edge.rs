use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Response, header, request};
use ostia_core::RequestId;

use super::answer;
use crate::admit::Unanswered;
use crate::dialect::{Api, Dialect, PLAIN};
use crate::errors::limit_headers;
use crate::gateway::{Gateway, NO_ROUTE, begin_access, empty_answer, logged};
use crate::listen::{Handler, Inbound, Rejection};
use crate::live::Live;
use crate::refusal::{Blame, Refusal, known_code};
use crate::relay::ClientBody;
use crate::routes::{Lost, Route};

impl Handler for Gateway {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, mut inbound: Inbound) -> Response<ClientBody> {
        let path = inbound.head.uri.path().to_owned();
        let live = self.live();
        let base_path = &live.settings.server.base_path;
        let route = Route::find(&inbound.head.method, &path, base_path);
        let dialect = dialect_of(&route, &inbound.head.headers);
        let answered = guarded(around(&self, &live, &mut inbound, route, dialect)).await;
        answered.unwrap_or_else(|refusal| {
            note(&self, inbound.id, &refusal);
            refusal.into_response(dialect)
        })
    }

    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<ClientBody> {
        let refusal = Refusal::from(rejection);
        note(self, inbound.id, &refusal);
        let access = begin_access(&inbound, NO_ROUTE, &self.clock);
        logged(refusal.into_response(PLAIN), access)
    }
}

/// The dialect of errors. Where a path belongs to none, Anthropic's clients are known by the header that they always send.
fn dialect_of(route: &Result<Route<'_>, Lost>, headers: &HeaderMap) -> &'static dyn Dialect {
    let own = route.as_ref().map_or_else(Lost::dialect, Route::dialect);
    match route {
        Ok(Route::Inference(_)) => own,
        _ if headers.contains_key("anthropic-version") => Api::parse("messages").dialect(),
        _ => own,
    }
}

/// What every response gets: the route's name in the access event, CORS headers, and the end that the process itself
/// may impose on it.
async fn around(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    route: Result<Route<'_>, Lost>,
    dialect: &dyn Dialect,
) -> Response<ClientBody> {
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
    let mut access = begin_access(inbound, name, &gateway.clock);
    let served = tokio::select! {
        biased;
        () = std::future::ready(()), if preflight => Ok(empty_answer()),
        served = answer(gateway, live, inbound, route, &mut access) => served,
        () = wire.given_up() => Err(Refusal::shutting_down()),
    };
    let mut response = served.unwrap_or_else(|refusal| {
        note(gateway, id, &refusal);
        refusal.into_response(dialect)
    });
    response.headers_mut().extend(cors);
    logged(response, access)
}

/// A panic is reported like any other refusal and ends only its own request.
fn guarded<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, Refusal>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    work.map(|outcome| outcome.map_err(|_| Refusal::internal_error()))
}

/// Whether a client asks to go on as a WebSocket. Nothing here does: it is told so at once, and goes on with POST.
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
        .with_headers(limit_headers(unanswered.standing()));
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
