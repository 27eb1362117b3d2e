use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Notices, Workbench};
use crate::authorize::{Denied, may_see};
use crate::backend::{self, Adapters};
use crate::catalog::{Catalog, Cluster, Deployment, Target};
use crate::cluster::{self, Clusters};
use crate::identify::Principal;
use crate::script::Scripts;
use crate::upstream::Ask;
use crate::upstream::Upstreams;

/// Everything that one reading of the files gives. Replaced whole; a request keeps the one it began with.
pub struct Snapshot {
    pub catalog: Catalog,
    pub adapters: Adapters,
    pub upstreams: Upstreams,
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
        let upstreams = Upstreams::build(&catalog, clients);
        let scripts = Scripts::default();
        let ask_backend = |deployment: &Deployment| {
            let client = upstreams.client(deployment.index)?;
            Some(Arc::clone(client) as Arc<dyn Ask>)
        };
        let ask = |target: &Target| match clients.client(target) {
            Ok(client) => Some(client as Arc<dyn Ask>),
            Err(error) => {
                tracing::error!(%error, "a cluster's status page cannot be asked");
                None
            }
        };
        let adapters = Adapters::build(
            &catalog,
            &backend::Workshop {
                registered: &registry.endpoints,
                scripts: &scripts,
                cache,
                ask: &ask_backend,
            },
        );
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
            adapters,
            clusters,
            notices: Notices::new(maintenance, Arc::clone(live_notices)),
            upstreams,
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
