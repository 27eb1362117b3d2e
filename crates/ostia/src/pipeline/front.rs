use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{Response, StatusCode};
use ostia_core::RequestId;

use crate::dialect::Dialect;
use crate::gateway::{Gateway, NO_ROUTE, begin_access, empty_answer, json_answer, logged};
use crate::identify::Sender;
use crate::listen::{Handler, Inbound, Rejection};
use crate::refusal::{Blame, Refusal};
use crate::relay::ClientBody;
use crate::routes::{self, Lost, Route};
use crate::telemetry::AccessLog;

impl Gateway {
    async fn answer(&self, inbound: &mut Inbound) -> Response<ClientBody> {
        let preflight = self.cors.is_preflight(&inbound.head);
        let cors = match preflight {
            true => self.cors.preflight(&inbound.head.headers),
            false => self.cors.answer(&inbound.head.headers),
        };
        let path = inbound.head.uri.path().to_owned();
        let base_path = &self.settings.server.base_path;
        let route = Route::find(&inbound.head.method, &path, base_path);
        let name = match preflight {
            true => "preflight",
            false => route.as_ref().map_or(NO_ROUTE, Route::name),
        };
        let (id, wire) = (inbound.id, Arc::clone(&inbound.wire));
        let mut access = begin_access(inbound, name, &self.clock);
        let served = tokio::select! {
            biased;
            () = std::future::ready(()), if preflight => Ok(empty_answer()),
            served = self.serve_route(inbound, route, &mut access) => served,
            () = wire.given_up() => Err(Refusal::shutting_down()),
        };
        let mut response = served.unwrap_or_else(|refusal| {
            log_refusal(id, &refusal);
            refusal.into_response(routes::dialect_of(&path, base_path))
        });
        response.headers_mut().extend(cors);
        logged(response, access)
    }

    async fn serve_route(
        &self,
        inbound: &mut Inbound,
        route: Result<Route<'_>, Lost>,
        access: &mut AccessLog,
    ) -> Result<Response<ClientBody>, Refusal> {
        let route = match route {
            Ok(route) if route.is_open() => return Ok(self.serve_open(&route)),
            Err(Lost::NoPath) => return Err(Refusal::not_found()),
            Err(Lost::NoMethod { allow, open: true }) => {
                return Err(Refusal::method_not_allowed(&allow));
            }
            closed => closed,
        };
        let sender = Sender {
            peer_ip: inbound.peer_ip,
            origin_ip: inbound.origin_ip,
        };
        let principal = self.identify.identify(&inbound.head, sender).await?;
        access.user(&principal.user_id);
        match route {
            Ok(Route::Inference(address)) => {
                super::infer(self, inbound, &principal, &address).await
            }
            Ok(Route::NotServed) => Err(Refusal::not_implemented()),
            Ok(Route::Jobs(cluster)) => self.jobs(cluster, &principal, inbound.id).await,
            Ok(Route::ClusterModels(cluster)) => {
                let query = inbound.head.uri.query().unwrap_or("");
                let models = self.cluster_models(cluster, query, &principal, inbound.id)?;
                Ok(json_answer(StatusCode::OK, &models))
            }
            Ok(listing) => Ok(json_answer(
                StatusCode::OK,
                &self.list(&listing, &principal, inbound.id)?,
            )),
            Err(Lost::NoMethod { allow, .. }) => Err(Refusal::method_not_allowed(&allow)),
            Err(Lost::NoPath) => Err(Refusal::not_found()),
        }
    }
}

impl Handler for Gateway {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, mut inbound: Inbound) -> Response<ClientBody> {
        let answered = guarded(self.answer(&mut inbound)).await;
        answered.unwrap_or_else(|refusal| {
            log_refusal(inbound.id, &refusal);
            let base_path = &self.settings.server.base_path;
            let dialect = routes::dialect_of(inbound.head.uri.path(), base_path);
            refusal.into_response(dialect)
        })
    }

    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<ClientBody> {
        let refusal = Refusal::from(rejection);
        log_refusal(inbound.id, &refusal);
        let access = begin_access(&inbound, NO_ROUTE, &self.clock);
        logged(refusal.into_response(Dialect::OpenAi), access)
    }
}

/// A fault of ours that stops a request is told like any other, and is that request's alone.
fn guarded<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, Refusal>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    work.map(|outcome| outcome.map_err(|_| Refusal::internal_error()))
}

/// The private side of a refusal: once, with the request id.
fn log_refusal(id: RequestId, refusal: &Refusal) {
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
