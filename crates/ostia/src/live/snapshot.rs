use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Notices, Workbench};
use crate::authorize::{Denied, may_see};
use crate::backend::{self, Backends};
use crate::catalog::{Catalog, Cluster, Deployment, Target};
use crate::cluster::{self, Clusters};
use crate::identify::Principal;
use crate::script::Scripts;
use crate::upstream::Ask;

/// Everything that one reading of the files gives. Replaced whole; a request keeps the one it began with.
pub struct Snapshot {
    pub catalog: Catalog,
    pub backends: Backends,
    pub clusters: Clusters,
    pub notices: Notices,
}

impl Snapshot {
    /// `maintenance`: cluster to text. `earlier`: what is replaced; clusters that did not change keep what they know.
    pub fn build(
        catalog: Catalog,
        maintenance: &BTreeMap<String, String>,
        bench: &Workbench,
        earlier: Option<&Self>,
    ) -> Self {
        let Workbench {
            registry,
            clients,
            clock,
            cache,
            live_notices,
        } = bench;
        let scripts = Scripts::default();
        let ask = |target: &Target| match clients.client(target) {
            Ok(client) => Some(client as Arc<dyn Ask>),
            Err(error) => {
                tracing::error!(%error, "a cluster's status page cannot be asked");
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
            },
            earlier.map(|earlier| &earlier.clusters),
        );
        Self {
            clusters,
            notices: Notices::new(maintenance, Arc::clone(live_notices)),
            backends,
            catalog,
        }
    }

    /// A cluster that exists for this caller.
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
