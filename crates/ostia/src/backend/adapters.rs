use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use http::{HeaderMap, response};
use ostia_core::{LedgerRow, Observer, RequestId};

use super::prepare::Constants;
use super::script::ScriptEndpoint;
use super::{AdapterError, EndpointAdapter, RequestContext, ResponseContext};
use crate::cache::Cache;
use crate::catalog::{AdapterName, Catalog, Deployment};
use crate::identify::Principal;
use crate::read::Call;
use crate::script::Scripts;
use crate::upstream::{Ask, Http, Outgoing};

/// How long a hook may take before its request is given up.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Endpoint adapters that are written in Rust, by the name that fixtures use.
pub type EndpointAdapters = BTreeMap<String, Arc<dyn EndpointAdapter>>;

/// The adapters of one catalog, by the deployments' index.
#[derive(Default)]
pub struct Adapters {
    entries: Vec<Entry>,
}

struct Entry {
    constants: Constants,
    /// `None`: the direct API, which changes nothing and costs nothing.
    custom: Option<Custom>,
}

struct Custom {
    adapter: Arc<dyn EndpointAdapter>,
    http: Http,
    cache: Arc<Cache>,
    observer: Arc<dyn Observer>,
    time_limit: Duration,
}

/// What adapters are built with.
pub struct Workshop<'a> {
    pub registered: &'a EndpointAdapters,
    pub scripts: &'a Scripts,
    pub cache: &'a Arc<Cache>,
    /// The HTTP client of a deployment; `None` where it has no usable one.
    pub ask: &'a dyn Fn(&Deployment) -> Option<Arc<dyn Ask>>,
}

impl Adapters {
    pub fn build(catalog: &Catalog, workshop: &Workshop<'_>) -> Self {
        let entry = |deployment: &Arc<Deployment>| Entry {
            constants: Constants::of(deployment),
            custom: workshop.custom(deployment),
        };
        Self {
            entries: catalog.deployments().iter().map(entry).collect(),
        }
    }

    /// Shows the head of the backend's answer to the endpoint's adapter.
    pub fn answered(&self, deployment: &Deployment, principal: &Principal, head: &response::Parts) {
        let Some(custom) = self.custom(deployment) else {
            return;
        };
        let context = ResponseContext {
            principal,
            deployment,
            status: head.status,
            headers: &head.headers,
        };
        let seen = std::panic::catch_unwind(AssertUnwindSafe(|| {
            custom.adapter.on_response(&context);
        }));
        if seen.is_err() {
            tracing::error!(
                endpoint = &*deployment.slug,
                "the adapter's on_response panicked"
            );
        }
    }

    /// Who has to be told how a request to this endpoint ended.
    pub fn observer(&self, deployment: &Deployment) -> Option<Arc<dyn Observer>> {
        self.custom(deployment)
            .map(|custom| Arc::clone(&custom.observer))
    }

    fn custom(&self, deployment: &Deployment) -> Option<&Custom> {
        self.entries.get(deployment.index)?.custom.as_ref()
    }
}

impl Workshop<'_> {
    fn custom(&self, deployment: &Deployment) -> Option<Custom> {
        let AdapterName::Custom(name) = &deployment.adapter else {
            return None;
        };
        let http = Http::new((self.ask)(deployment), &deployment.target, HOOK_TIMEOUT);
        let adapter = self.adapter(name, &http);
        Some(Custom {
            observer: Arc::new(Completion(Arc::clone(&adapter))),
            adapter,
            http,
            cache: Arc::clone(self.cache),
            time_limit: HOOK_TIMEOUT,
        })
    }

    fn adapter(&self, name: &str, http: &Http) -> Arc<dyn EndpointAdapter> {
        if let Some(adapter) = self.registered.get(name) {
            return Arc::clone(adapter);
        }
        let Some(path) = name.strip_prefix("script:") else {
            return Arc::new(Broken(format!("no adapter `{name}` is registered")));
        };
        match self.scripts.load(path) {
            Ok(program) => Arc::new(ScriptEndpoint::new(
                program,
                http.clone(),
                Arc::clone(self.cache),
            )),
            Err(error) => {
                tracing::error!(%error, "a script cannot be used");
                Arc::new(Broken(error.to_string()))
            }
        }
    }
}

/// Makes the request that the leased endpoint will get.
pub async fn adapt(
    adapters: &Adapters,
    deployment: &Arc<Deployment>,
    principal: &Principal,
    call: &Call,
    id: RequestId,
    client_headers: &HeaderMap,
) -> Result<Outgoing, AdapterError> {
    let entry = adapters
        .entries
        .get(deployment.index)
        .ok_or_else(|| AdapterError::Failed("the deployment is not of this catalog".to_owned()))?;
    let outgoing = entry
        .constants
        .prepare(deployment, call, id, client_headers);
    match &entry.custom {
        None => Ok(outgoing),
        Some(custom) => custom.run(principal, deployment, call, outgoing).await,
    }
}

impl Custom {
    /// Runs the one hook that is due. A panic or a hang ends this request and no other.
    async fn run(
        &self,
        principal: &ostia_core::Identity,
        deployment: &Arc<Deployment>,
        call: &Call,
        outgoing: Outgoing,
    ) -> Result<Outgoing, AdapterError> {
        let mut context = RequestContext::new(
            principal,
            deployment,
            call,
            &self.http,
            &self.cache,
            outgoing,
        );
        let hook = async {
            if call.stream {
                self.adapter.on_stream_request(&mut context).await
            } else {
                self.adapter.on_request(&mut context).await
            }
        };
        let hook = AssertUnwindSafe(hook).catch_unwind();
        match tokio::time::timeout(self.time_limit, hook).await {
            Ok(Ok(done)) => done?,
            Ok(Err(_)) => return Err(AdapterError::Failed("the adapter panicked".to_owned())),
            Err(_) => {
                let why = format!("the adapter took longer than {:?}", self.time_limit);
                return Err(AdapterError::Failed(why));
            }
        }
        context.finish()
    }
}

/// Passes a closed receipt on to an adapter.
struct Completion(Arc<dyn EndpointAdapter>);

impl Observer for Completion {
    fn closed(&self, row: &LedgerRow<'_>) {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| self.0.on_complete(row)));
        if told.is_err() {
            let endpoint = &*row.endpoint_slug;
            tracing::error!(endpoint, "the adapter's on_complete panicked");
        }
    }
}

/// Stands in for an adapter that cannot be had.
struct Broken(String);

#[async_trait]
impl EndpointAdapter for Broken {
    async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        Err(AdapterError::Failed(self.0.clone()))
    }
}

#[cfg(test)]
mod tests;
