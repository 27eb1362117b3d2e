use std::sync::Arc;

use ostia_core::{Clock, Store, SystemClock};

use super::{Parts, Running, StartError};
use crate::backend::{Backend, EndpointAdapter};
use crate::cluster::ClusterAdapter;
use crate::config::{Loaded, Sources, load};
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::live::Registry;

/// A gateway with a site's own adapters, for a `main.rs` of its own.
#[derive(Default, Clone)]
pub struct Builder {
    registry: Registry,
}

/// Why a gateway with a site's own adapters did not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Every mistake, one line each.
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Gateway {
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Puts hooks around endpoints whose `endpoint_adapter` is `name`. A later one of the same name takes its place.
    pub fn endpoint_adapter(mut self, name: &str, adapter: impl EndpointAdapter) -> Self {
        self.registry.backends.add_hooks(name, Arc::new(adapter));
        self
    }

    /// Has endpoints answered by this kind of backend whose `endpoint_adapter` or, around which hooks stand, whose
    /// `config.backend` is `name`.
    pub fn backend<B: Backend>(mut self, name: &str) -> Self {
        self.registry.backends.add_backend::<B>(name);
        self
    }

    /// Serves clusters whose `cluster_adapter` is `name`.
    pub fn cluster_adapter(mut self, name: &str, adapter: impl ClusterAdapter) -> Self {
        let adapter: Arc<dyn ClusterAdapter> = Arc::new(adapter);
        self.registry.clusters.insert(name.to_owned(), adapter);
        self
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Reads all files, with the registered names known.
    pub fn load(&self, sources: &Sources, fleet: &Fleet) -> Loaded {
        let mut sources = sources.clone();
        sources.backends = self.registry.backends.clone();
        let clusters = self.registry.clusters.keys().cloned();
        sources.registered_clusters.extend(clusters);
        load(&sources, fleet)
    }

    /// Reads the files, opens the store that they name and serves. Mistakes of single entries are logged and disable
    /// these; anything worse is [`BuildError::Config`].
    pub async fn start<S, F>(self, sources: &Sources, open_store: S) -> Result<Running, BuildError>
    where
        S: FnOnce(String) -> F,
        F: Future<Output = Result<Arc<dyn Store>, ostia_core::StoreError>>,
    {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let fleet = Arc::new(Fleet::new(Arc::clone(&clock)));
        let loaded = self.load(sources, &fleet);
        for problem in &loaded.problems {
            tracing::warn!("{problem}");
        }
        let faults = || {
            let lines: Vec<String> = loaded.errors().map(ToString::to_string).collect();
            BuildError::Config(lines.join("\n"))
        };
        if loaded.fatal(false) {
            return Err(faults());
        }
        let Some(settings) = loaded.settings.clone() else {
            return Err(faults());
        };
        let url = settings.store.url.expose().clone();
        let store = open_store(url)
            .await
            .map_err(|error| BuildError::Config(error.to_string()))?;
        let parts = Parts {
            settings,
            catalog: loaded.catalog,
            fleet,
            store,
            clock,
            limiter: None,
            disk: None,
        };
        Ok(Running::start_with(parts, self.registry).await?)
    }
}
