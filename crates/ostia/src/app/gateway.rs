use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use http::{HeaderValue, Response, StatusCode, header};
use ostia_core::{Clock, Limiter, RequestId, Store};
use serde_json::{Value, json};

use super::{Snapshot, Workbench};
use crate::account::{Books, Ledger};
use crate::admit::{Admission, RetryBudget};
use crate::authorize::{Denied, Notices as _};
use crate::config::Settings;
use crate::endpoint::{Promise, injects_usage};
use crate::error::Refusal;
use crate::fleet::{Fleet, Responses};
use crate::identify::{Identify, Principal, Sender};
use crate::listen::{Drain, Handler, Inbound, Rejection};
use crate::models::{
    Audience, Models, cluster_models, list_endpoints, query_value, status, whoami,
};
use crate::pipeline;
use crate::read::{Budget, Call, Dialect, ReadLimits};
use crate::relay::{self, ClientBody};
use crate::resolve::Address;
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
            false => route.as_ref().map_or("none", Route::name),
        };
        let (id, wire) = (inbound.id, Arc::clone(&inbound.wire));
        let mut access =
            AccessLog::begin(id, name, inbound.origin_ip, inbound.received, &self.clock);
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
        access.status(response.status());
        response.map(|body| body.logged(access))
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
            Ok(Route::Jobs(cluster)) => self.jobs(cluster, &principal).await,
            Ok(Route::ClusterModels(cluster)) => {
                let query = inbound.head.uri.query().unwrap_or("");
                let models = self.cluster_models(cluster, query, &principal)?;
                Ok(json_answer(&models))
            }
            Ok(listing) => Ok(json_answer(&self.list(&listing, &principal)?)),
            Err(Lost::NoMethod { allow, .. }) => Err(Refusal::method_not_allowed(&allow)),
            Err(Lost::NoPath) => Err(Refusal::not_found()),
        }
    }

    /// `GET /{cluster}/jobs`
    async fn jobs(
        &self,
        name: &str,
        principal: &Principal,
    ) -> Result<Response<ClientBody>, Refusal> {
        let snapshot = self.snapshot();
        let cluster = snapshot.visible_cluster(name, principal)?;
        let deployments = snapshot.catalog.of_cluster(name);
        let audience = Audience::new(cluster, deployments, principal);
        if let Some(text) = snapshot.notices.notice(name) {
            return Ok(json_answer(&audience.under_maintenance(&text)));
        }
        let watch = snapshot
            .clusters
            .watch(name)
            .ok_or(Denied::ClusterNotFound)?;
        let reading = watch.current().await?;
        Ok(json_answer(&audience.jobs(&reading.jobs, reading.stale)))
    }

    /// `GET /{cluster}/models[?model_id=M]`
    fn cluster_models(
        &self,
        name: &str,
        query: &str,
        principal: &Principal,
    ) -> Result<Value, Denied> {
        let snapshot = self.snapshot();
        snapshot.visible_cluster(name, principal)?;
        let wanted = query_value(query, "model_id");
        let models = cluster_models(
            snapshot.catalog.of_cluster(name),
            principal,
            wanted.as_deref(),
            &self.settings.catalog.model_details_keys,
        );
        if wanted.is_some() && models.is_empty() {
            return Err(Denied::ModelNotFound);
        }
        Ok(Value::Array(models))
    }

    /// What everybody may read.
    fn serve_open(&self, route: &Route<'_>) -> Response<ClientBody> {
        let base_path = &self.settings.server.base_path;
        match route {
            Route::Docs => page_answer(routes::page(base_path)),
            Route::OpenApi => json_answer(&routes::openapi(base_path)),
            Route::Status => {
                let snapshot = self.snapshot();
                json_answer(&status(&snapshot.catalog, &snapshot.notices))
            }
            _ => json_answer(&json!({"status": "ok"})),
        }
    }

    /// What a caller may see of the catalog and of itself.
    fn list(&self, route: &Route<'_>, principal: &Principal) -> Result<Value, Denied> {
        let snapshot = self.snapshot();
        let models = Models {
            catalog: &snapshot.catalog,
            notices: &snapshot.notices,
            identity: principal,
            created: self.started,
        };
        let base_path = &self.settings.server.base_path;
        Ok(match route {
            Route::ListEndpoints => list_endpoints(&snapshot.catalog, principal, base_path),
            Route::Models(scope) => models.list(scope_of(*scope))?,
            Route::Model(scope, id) => models.find(scope_of(*scope), id)?,
            _ => whoami(principal),
        })
    }
}

impl Handler for Gateway {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, mut inbound: Inbound) -> Response<ClientBody> {
        self.answer(&mut inbound).await
    }

    fn reject(&self, id: RequestId, rejection: Rejection) -> Response<ClientBody> {
        let refusal = Refusal::from(rejection);
        log_refusal(id, &refusal);
        refusal.into_response(Dialect::OpenAi)
    }
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

fn scope_of(scope: routes::Scope<'_>) -> crate::catalog::Scope<'_> {
    Address {
        scope,
        api: "models",
    }
    .scope()
}

fn empty_answer() -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn page_answer(page: String) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(page));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            routes::CONTENT_SECURITY_POLICY,
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn json_answer(value: &Value) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(value.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
