use std::sync::Arc;

use super::{Notices, Workbench};
use crate::authorize::{Denied, may_see};
use crate::backend::{self, Backends};
use crate::catalog::{Catalog, Cluster, Deployment, Target, UrlFault};
use crate::cluster::{self, Clusters};
use crate::identify::{Identify, Principal};
use crate::listen::{Tls, TlsError};
use crate::read::ReadLimits;
use crate::routes::Cors;
use crate::script::Scripts;
use crate::settings::Settings;
use crate::upstream::Ask;

/// Everything that a reload can change. It is replaced as a whole: a request keeps the one that it began with.
pub struct Live {
    /// The number of the reading, from 1.
    pub generation: u64,
    pub settings: Settings,
    pub catalog: Catalog,
    pub backends: Backends,
    pub clusters: Clusters,
    pub notices: Notices,
    pub identify: Arc<Identify>,
    pub cors: Cors,
    pub tls: Option<Arc<Tls>>,
}

/// Why what was read from the files cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("provider {0} cannot be used: its URL {1}")]
    Provider(&'static str, UrlFault),
}

impl Live {
    /// `earlier`: the one to be replaced. What did not change is taken over: connections to backends, signed-in
    /// callers, the known states of clusters.
    pub fn build(
        settings: Settings,
        catalog: Catalog,
        bench: &Workbench,
        earlier: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let tls = match (&settings.server.tls_cert, &settings.server.tls_key) {
            (Some(cert), Some(key)) => Some(Arc::new(Tls::load(cert, key)?)),
            _ => None,
        };
        let identify = bench.identify(&settings, earlier)?;
        let Workbench {
            registry,
            clients,
            clock,
            cache,
            live_notices,
            ..
        } = bench;
        let scripts = Scripts::default();
        let ask = |target: &Target| match clients.client(target) {
            Ok(client) => Some(client as Arc<dyn Ask>),
            Err(error) => {
                tracing::error!(%error, "a cluster's status page cannot be called");
                None
            }
        };
        let backends = Backends::build(
            &catalog,
            &backend::Workshop {
                registry: &registry.backends,
                scripts: &scripts,
                cache,
                clients,
            },
        );
        let ask_backend = |deployment: &Deployment| backends.client(deployment);
        let clusters = Clusters::build(
            &catalog,
            &cluster::Workshop {
                registered: &registry.clusters,
                scripts: &scripts,
                cache,
                clock,
                ask: &ask,
                ask_backend: &ask_backend,
                leased: &|deployment| backends.leased(deployment).cloned(),
            },
            earlier.map(|earlier| &earlier.clusters),
        );
        Ok(Self {
            generation: earlier.map_or(1, |earlier| earlier.generation + 1),
            notices: Notices::new(
                &settings.maintenance,
                Arc::clone(live_notices),
                Arc::clone(clock),
            ),
            cors: Cors::new(&settings.server.cors_origins),
            settings,
            catalog,
            backends,
            clusters,
            identify,
            tls,
        })
    }

    pub fn read_limits(&self) -> ReadLimits {
        ReadLimits {
            max_body_bytes: self.settings.server.max_body_bytes,
            body_idle_timeout: self.settings.server.body_idle_timeout,
        }
    }

    /// The cluster of this name, if it exists for this caller.
    pub fn visible_cluster(
        &self,
        name: &str,
        principal: &Principal,
    ) -> Result<&Arc<Cluster>, Denied> {
        self.catalog
            .cluster(name)
            .filter(|cluster| may_see(cluster, principal))
            .ok_or(Denied::ClusterNotFound)
    }
}
