use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::Clock;

use crate::authorize;
use crate::catalog::Catalog;
use crate::endpoint::Adapters;
use crate::upstream::{Resolver, Upstreams};

/// Everything that one reading of the files gives. Replaced whole; a request keeps the one it began with.
pub struct Snapshot {
    pub catalog: Catalog,
    pub adapters: Adapters,
    pub upstreams: Upstreams,
    pub notices: Notices,
}

/// What users are told of clusters under maintenance.
#[derive(Debug, Default)]
pub struct Notices {
    configured: BTreeMap<String, Arc<str>>,
}

impl Snapshot {
    /// `maintenance`: cluster to text.
    pub fn build(
        catalog: Catalog,
        maintenance: &BTreeMap<String, String>,
        resolver: &Arc<Resolver>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            adapters: Adapters::build(&catalog),
            upstreams: Upstreams::build(&catalog, resolver, clock),
            notices: Notices::new(maintenance),
            catalog,
        }
    }
}

impl Notices {
    fn new(configured: &BTreeMap<String, String>) -> Self {
        let configured = configured
            .iter()
            .map(|(cluster, text)| (cluster.clone(), Arc::from(text.as_str())))
            .collect();
        Self { configured }
    }
}

impl authorize::Notices for Notices {
    fn notice(&self, cluster: &str) -> Option<Arc<str>> {
        self.configured.get(cluster).cloned()
    }
}
