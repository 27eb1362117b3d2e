use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use http::{Response, StatusCode};
use ostia_core::{Clock, Limiter, RequestId, Store};

use super::pages::{empty_answer, json_answer};
use super::{Snapshot, Workbench};
use crate::account::{Books, Ledger};
use crate::admit::{Admission, RetryBudget};
use crate::authorize::Denials;
use crate::config::Settings;
use crate::endpoint::{Promise, injects_usage};
use crate::error::Refusal;
use crate::fleet::{Fleet, Responses};
use crate::identify::{Identify, KeyWatch, Sender};
use crate::listen::{Drain, Handler, Inbound, Rejection};
use crate::pipeline;
use crate::read::{Budget, Call, Dialect, ReadLimits};
use crate::relay::{self, ClientBody};
use crate::routes::{self, Cors, Lost, Route};
use crate::telemetry::AccessLog;

/// A gateway at work: the parts that requests use.
pub struct Gateway {
    pub(super) settings: Settings,
    pub(super) snapshot: ArcSwap<Snapshot>,
    pub(super) workbench: Workbench,
    pub(super) fleet: Arc<Fleet>,
    pub(super) responses: Arc<Responses>,
    pub(super) cors: Cors,
    /// Unix seconds.
    pub(super) started: i64,
    pub(super) identify: Identify,
    pub(super) key_watch: Arc<KeyWatch>,
    pub(super) denials: Denials,
    pub(super) limiter: Arc<dyn Limiter>,
    pub(super) retries: RetryBudget,
    pub(super) body_budget: Arc<Budget>,
    pub(super) read_limits: ReadLimits,
    pub(super) ledger: Arc<Ledger>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutting_down: Arc<AtomicBool>,
    pub(super) drain: Drain,
}

impl Gateway {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub fn identify(&self) -> &Identify {
        &self.identify
    }

    /// What became of keys since the start.
    pub fn key_watch(&self) -> &KeyWatch {
        &self.key_watch
    }

    /// Who was refused what is there.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Who made which response.
    pub fn responses(&self) -> &Responses {
        &self.responses
    }

    pub fn limiter(&self) -> &Arc<dyn Limiter> {
        &self.limiter
    }

    pub fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    pub fn body_budget(&self) -> &Arc<Budget> {
        &self.body_budget
    }

    pub fn read_limits(&self) -> &ReadLimits {
        &self.read_limits
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// What a request needs to be written down.
    pub fn books(&self) -> Books {
        Books {
            journal: Arc::clone(&self.ledger) as _,
            clock: Arc::clone(&self.clock),
            shutting_down: Arc::clone(&self.shutting_down),
        }
    }

    /// What the relay needs for one answer.
    pub(crate) fn relay_context(
        &self,
        inbound: &Inbound,
        call: &Call,
        admission: &Admission,
        sent: &Promise,
    ) -> relay::Context {
        let deployment = Arc::clone(admission.deployment());
        let standing = admission.standing();
        let timeouts = sent.timeouts;
        relay::Context {
            clock: Arc::clone(&self.clock),
            wire: Arc::clone(&inbound.wire),
            api: call.api.clone(),
            stream: sent.stream,
            responses: Arc::clone(&self.responses),
            hide_usage: sent.stream && injects_usage(&deployment, call),
            show_backend_limits: standing.requests.is_none() && standing.tokens.is_none(),
            idle_timeout: timeouts.stream_idle,
            deadline: timeouts.total.map(|total| inbound.received + total),
            keepalive: self.settings.upstream.keepalive_comment,
            deployment,
        }
    }

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
                pipeline::infer(self, inbound, &principal, &address).await
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

/// The route of a request that has none, in the access log.
pub(crate) const NO_ROUTE: &str = "none";

pub(crate) fn begin_access(
    inbound: &Inbound,
    route: &'static str,
    clock: &Arc<dyn Clock>,
) -> AccessLog {
    let Inbound {
        id,
        origin_ip,
        received,
        ..
    } = *inbound;
    AccessLog::begin(id, route, origin_ip, received, clock)
}

/// The access event comes with the answer's end.
pub(crate) fn logged(
    response: Response<ClientBody>,
    mut access: AccessLog,
) -> Response<ClientBody> {
    access.status(response.status());
    response.map(|body| body.logged(access))
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
        crate::error::Blame::Client => {
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
