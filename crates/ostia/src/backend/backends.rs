use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderMap, Response};
use ostia_core::{Clock, Phase, Receipt, RequestId};

use super::context::Caller;
use super::edits::Original;
use super::hooked::{Broken, HOOK_TIMEOUT, Hooked};
use super::prepare::Constants;
use super::registry::BackendKind;
use super::replicas::Replicas;
use super::script::ScriptHooks;
use super::{
    AdapterError, Answer, AnswerBody, EndpointAdapter, Entry, Exchange, Failure, Leased, Registry,
    RequestContext,
};
use crate::admit::Attempt;
use crate::cache::Cache;
use crate::catalog::{Catalog, Deployment, HooksName, Serving};
use crate::identify::Principal;
use crate::read::{Call, Form};
use crate::script::Scripts;
use crate::upstream::{Ask, Client, Clients, FailureKind, Http, Outgoing, Stats, within};

/// The backends of one catalog, by deployment index.
pub struct Backends {
    endpoints: Vec<EndpointBackend>,
    clock: Arc<dyn Clock>,
}

/// What serves one endpoint.
struct EndpointBackend {
    constants: Constants,
    /// Connections to its URL; `None` if its TLS files or its proxy cannot be used.
    client: Option<Arc<Client>>,
    kind: Result<BackendKind, String>,
    /// `None`: the backend has no hooks, and pays nothing for them.
    hooked: Option<Hooked>,
    replicas: Option<Replicas>,
    /// `Some`: engines that have leases.
    leased: Option<Arc<Leased>>,
}

/// What backends are built from.
pub struct Workshop<'a> {
    pub registry: &'a Registry,
    pub scripts: &'a Scripts,
    pub cache: &'a Arc<Cache>,
    pub clients: &'a Arc<Clients>,
}

/// A call that is ready to be sent, and its sender.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub principal: &'a Principal,
    pub call: &'a Call,
    pub id: RequestId,
    /// The client's headers.
    pub headers: &'a HeaderMap,
}

impl Backends {
    /// Entries were checked when the files were read. One that cannot be built was disabled then, and is never called.
    pub fn build(catalog: &Catalog, workshop: &Workshop<'_>) -> Self {
        let deployments = catalog.deployments().iter();
        Self {
            endpoints: deployments
                .map(|deployment| workshop.endpoint(deployment))
                .collect(),
            clock: Arc::clone(workshop.cache.clock()),
        }
    }

    /// What all their connections are doing right now.
    pub fn stats(&self) -> Stats {
        let mut all = Stats::default();
        let mut seen = HashSet::new();
        let own = self.endpoints.iter();
        let own = own.filter_map(|endpoint| endpoint.client.as_ref().map(Arc::clone));
        let leased = self.endpoints.iter().filter_map(|one| one.leased.as_ref());
        let clients: Vec<_> = own.chain(leased.flat_map(|one| one.clients())).collect();
        // Equal targets share a client.
        for client in clients.iter().filter(|one| seen.insert(Arc::as_ptr(one))) {
            let stats = client.stats();
            all.open += stats.open;
            all.idle += stats.idle;
            all.in_use += stats.in_use;
            all.opened_total += stats.opened_total;
        }
        all
    }

    /// The connections of one endpoint.
    pub fn client(&self, deployment: &Deployment) -> Option<Arc<dyn Ask>> {
        let endpoint = self.endpoints.get(deployment.index)?;
        if let Some(leased) = &endpoint.leased {
            return Some(Arc::clone(leased) as _);
        }
        let client = endpoint.client.as_ref()?;
        Some(Arc::clone(client) as _)
    }

    /// The engines of one endpoint, where they have leases.
    pub fn leased(&self, deployment: &Deployment) -> Option<&Arc<Leased>> {
        self.endpoints.get(deployment.index)?.leased.as_ref()
    }

    /// Gets the response of the leased endpoint. It takes an attempt, which proves that the caller may send the request
    /// and that it is recorded in the journal.
    ///
    /// ```no_run
    /// use ostia::{admit::Attempt, backend::{Backends, Request}};
    ///
    /// async fn go(all: &Backends, attempt: &mut Attempt, request: Request<'_>) {
    ///     let _ = all.call(attempt, request).await;
    /// }
    /// ```
    ///
    /// It cannot be left out:
    ///
    /// ```compile_fail,E0061
    /// use ostia::backend::{Backends, Request};
    ///
    /// async fn go(all: &Backends, request: Request<'_>) {
    ///     let _ = all.call(request).await;
    /// }
    /// ```
    ///
    /// An admission is not enough, because nothing has been recorded yet:
    ///
    /// ```compile_fail,E0308
    /// use ostia::{admit::Admission, backend::{Backends, Request}};
    ///
    /// async fn go(all: &Backends, admission: &mut Admission, request: Request<'_>) {
    ///     let _ = all.call(admission, request).await;
    /// }
    /// ```
    ///
    /// And the value of an earlier stage cannot be made by hand:
    ///
    /// ```compile_fail,E0451
    /// let permit = ostia::authorize::Permit { model: "m".into(), deployments: Vec::new() };
    /// ```
    pub async fn call(
        &self,
        attempt: &mut Attempt,
        request: Request<'_>,
    ) -> Result<Answer, Failure> {
        let deployment = Arc::clone(attempt.deployment());
        let endpoint = self.endpoint(&deployment)?;
        let witness = endpoint
            .hooked
            .as_ref()
            .map(|hooked| Arc::clone(&hooked.observer));
        attempt.receipt_mut().tell(witness);
        let outgoing = endpoint.prepare(&deployment, request).await?;
        let promise = outgoing.promise();
        attempt.sent();
        let receipt = attempt.receipt_mut();
        let age = self
            .clock
            .now()
            .saturating_duration_since(receipt.received());
        let left = promise
            .timeouts
            .total
            .map(|total| total.saturating_sub(age));
        receipt.connecting();
        let exchange = Exchange {
            principal: request.principal,
            deployment: &deployment,
            call: request.call,
            outgoing,
            client: endpoint.client.as_deref(),
            replicas: endpoint.replicas.as_ref(),
            leased: endpoint.leased.as_deref(),
            clock: &*self.clock,
            sending: receipt.sending(),
        };
        let sent = within(left, endpoint.send(exchange)).await;
        let response = sent.unwrap_or_else(|| Err(out_of_time(receipt)))?;
        receipt.seen();
        let (head, body) = response.into_parts();
        let mut answer = Answer {
            status: head.status,
            head,
            body,
            shown: HeaderMap::new(),
            promise,
        };
        if let Some(hooked) = &endpoint.hooked {
            hooked
                .after(request.principal, &deployment, &mut answer)
                .await;
        }
        Ok(answer)
    }

    /// The request that the leased endpoint would get, after its hooks have run.
    pub async fn prepare(
        &self,
        deployment: &Arc<Deployment>,
        request: Request<'_>,
    ) -> Result<Outgoing, AdapterError> {
        self.endpoint(deployment)?
            .prepare(deployment, request)
            .await
    }

    fn endpoint(&self, deployment: &Deployment) -> Result<&EndpointBackend, AdapterError> {
        self.endpoints
            .get(deployment.index)
            .ok_or_else(|| AdapterError::Failed("the deployment is not in this catalog".to_owned()))
    }
}

impl EndpointBackend {
    async fn prepare(
        &self,
        deployment: &Arc<Deployment>,
        request: Request<'_>,
    ) -> Result<Outgoing, AdapterError> {
        let Request {
            principal,
            call,
            id,
            headers,
        } = request;
        let caller = Caller {
            principal,
            id,
            headers,
        };
        let cache_salt = self.constants.cache_salt(deployment, principal, call);
        let salt = cache_salt.as_deref();
        let outgoing = self.constants.prepare(deployment, caller, call, salt);
        match &self.hooked {
            // Hooks are for bodies.
            _ if call.stored.is_some() => Ok(outgoing),
            None => Ok(outgoing),
            Some(hooked) => {
                let original = match call.form {
                    Form::Json => Some(Original::of(&call.body).await?),
                    Form::Multipart => None,
                };
                let context =
                    RequestContext::new(caller, deployment, call, hooked, outgoing, original)
                        .with_cache_salt(cache_salt);
                hooked.before(context).await
            }
        }
    }

    async fn send(&self, exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure> {
        match &self.kind {
            Ok(BackendKind::Direct) => exchange.direct().await,
            Ok(BackendKind::Other(backend)) => {
                let silence = exchange.outgoing.timeouts.response_header;
                let answer = AssertUnwindSafe(backend.call(exchange)).catch_unwind();
                match within(silence, answer).await {
                    Some(Ok(answer)) => answer,
                    Some(Err(_)) => {
                        Err(AdapterError::Failed("the backend panicked".to_owned()).into())
                    }
                    None => Err(Failure::broken(
                        FailureKind::Timeout,
                        Phase::WaitingHeaders,
                        false,
                        "no response head in time",
                    )),
                }
            }
            Err(why) => Err(AdapterError::Failed(why.clone()).into()),
        }
    }
}

/// The time for the whole exchange ran out before the response began.
fn out_of_time(receipt: &Receipt) -> Failure {
    Failure::broken(
        FailureKind::Timeout,
        receipt.phase(),
        false,
        "no response head within the total timeout",
    )
}

impl Workshop<'_> {
    fn endpoint(&self, deployment: &Deployment) -> EndpointBackend {
        let client = self.client(deployment);
        let mut unheard = |_, _: &str, _: &str| {};
        let mut entry = Entry::new(&deployment.config, &mut unheard);
        let name = &*deployment.kind;
        let kind = self.registry.open(name, &mut entry);
        EndpointBackend {
            constants: Constants::of(deployment),
            replicas: Replicas::of(deployment, self.cache.clock().now()),
            leased: Leased::of(deployment, self.clients).map(Arc::new),
            hooked: self.hooked(deployment, client.as_ref()),
            client,
            kind: kind.ok_or_else(|| format!("backend `{name}` cannot be built from the entry")),
        }
    }

    /// A deployment whose TLS files or proxy cannot be used gets no client: one ERROR line, and 502 for its callers. A
    /// deployment that is not served needs no client, and its line has already been logged.
    fn client(&self, deployment: &Deployment) -> Option<Arc<Client>> {
        if deployment.serving != Serving::Yes {
            return None;
        }
        let client = self.clients.client(&deployment.target);
        client
            .map_err(|error| {
                tracing::error!(endpoint = &*deployment.slug, %error, "the endpoint cannot be called");
            })
            .ok()
    }

    fn hooked(&self, deployment: &Deployment, client: Option<&Arc<Client>>) -> Option<Hooked> {
        let name = deployment.hooks.as_ref()?;
        let ask = client.map(|client| Arc::clone(client) as Arc<dyn Ask>);
        let http = Http::new(ask, &deployment.target, HOOK_TIMEOUT);
        let hooks: Arc<dyn EndpointAdapter> = match name {
            HooksName::Registered(name) => match self.registry.hooks(name) {
                Some(hooks) => Arc::clone(hooks),
                None => Arc::new(Broken(format!("no adapter `{name}` is registered"))),
            },
            HooksName::Script(path) => match self.scripts.load(path) {
                Ok(program) => Arc::new(ScriptHooks::new(program, Arc::clone(self.cache.clock()))),
                Err(error) => {
                    tracing::error!(%error, "a script cannot be used");
                    Arc::new(Broken(error.to_string()))
                }
            },
        };
        Some(Hooked::new(hooks, http, Arc::clone(self.cache)))
    }
}
