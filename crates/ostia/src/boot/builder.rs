use std::sync::Arc;

use crate::backend::{Backend, EndpointAdapter};
use crate::cluster::ClusterAdapter;
use crate::config::{Loaded, Sources, load};
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::live::Registry;

/// A site's own adapters, for a `main.rs` of its own: `ostia_cli::run` takes them.
#[derive(Default, Clone)]
pub struct Builder {
    registry: Registry,
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

    /// Registers this kind of backend for endpoints with `endpoint_adapter` set to `name`, or, if that names hooks,
    /// with `config.backend` set to it.
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
}
