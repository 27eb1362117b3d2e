use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use ostia_core::{Identity, LedgerRow, Observer};

use super::{AdapterError, Answer, EndpointAdapter, RequestContext, ResponseContext};
use crate::cache::Cache;
use crate::catalog::Deployment;
use crate::upstream::{Http, Outgoing};

/// How long a hook may take before its request fails.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A site's hooks around the backend of one endpoint. If they panic or hang, only that request fails.
pub(super) struct Hooked {
    hooks: Arc<dyn EndpointAdapter>,
    pub(super) http: Http,
    pub(super) cache: Arc<Cache>,
    pub(super) observer: Arc<dyn Observer>,
    time_limit: Duration,
}

impl Hooked {
    pub(super) fn new(hooks: Arc<dyn EndpointAdapter>, http: Http, cache: Arc<Cache>) -> Self {
        Self {
            observer: Arc::new(Completion(Arc::clone(&hooks))),
            hooks,
            http,
            cache,
            time_limit: HOOK_TIMEOUT,
        }
    }

    /// Runs the hook that is due before the backend is called.
    pub(super) async fn before(
        &self,
        mut context: RequestContext<'_>,
    ) -> Result<Outgoing, AdapterError> {
        let hook = async {
            if context.call.stream {
                self.hooks.on_stream_request(&mut context).await
            } else {
                self.hooks.on_request(&mut context).await
            }
        };
        self.bounded(hook).await??;
        context.finish()
    }

    /// Shows the response head to the hooks. If they fail, the response stays as it is.
    pub(super) async fn after(
        &self,
        principal: &Identity,
        deployment: &Deployment,
        answer: &mut Answer,
    ) {
        let mut context =
            ResponseContext::new(principal, deployment, &mut answer.head, &mut answer.shown);
        if let Err(error) = self.bounded(self.hooks.on_response(&mut context)).await {
            tracing::error!(endpoint = &*deployment.slug, %error, "on_response failed");
        }
    }

    async fn bounded<T>(&self, hook: impl Future<Output = T>) -> Result<T, AdapterError> {
        let hook = AssertUnwindSafe(hook).catch_unwind();
        match tokio::time::timeout(self.time_limit, hook).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(AdapterError::Failed("the adapter panicked".to_owned())),
            Err(_) => {
                let why = format!("the adapter took longer than {:?}", self.time_limit);
                Err(AdapterError::Failed(why))
            }
        }
    }
}

/// Passes a closed receipt to hooks.
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

/// Stands in for hooks that could not be loaded.
pub(super) struct Broken(pub(super) String);

#[async_trait]
impl EndpointAdapter for Broken {
    async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        Err(AdapterError::Failed(self.0.clone()))
    }
}

#[cfg(test)]
mod tests;
