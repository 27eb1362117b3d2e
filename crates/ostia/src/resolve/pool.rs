use std::sync::Arc;

use ostia_core::Location;

use crate::catalog::{Catalog, Cluster, Deployment, Scope};
use crate::dialect::Api;
use crate::routes::Address;

/// What a path and a model's name resolve to, for any caller.
#[derive(Debug)]
pub struct Pool {
    pub(crate) model: Arc<str>,
    pub(crate) deployments: Vec<Arc<Deployment>>,
    pub(crate) scope: ResolvedScope,
    pub(crate) api: Api,
}

/// What the path's scope resolved to.
#[derive(Debug)]
pub(crate) enum ResolvedScope {
    Everywhere,
    /// The cluster in the path, if it exists, and whether it lists the path's framework.
    Named {
        cluster: Option<Arc<Cluster>>,
        has_framework: bool,
    },
}

/// Where prompts may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Anywhere,
    /// Not to external endpoints if the model also runs on site.
    OnSiteFirst,
    OnSite,
}

impl Pool {
    /// Leaves out the external deployments if the call's prompt must stay on site.
    #[must_use]
    pub fn within(mut self, reach: Reach) -> Self {
        let leaves_out = match reach {
            Reach::Anywhere => false,
            Reach::OnSiteFirst => self.is_on_site(),
            Reach::OnSite => true,
        };
        if leaves_out {
            self.deployments
                .retain(|deployment| deployment.location == Location::OnSite);
        }
        self
    }

    /// Whether any of it runs on site.
    pub fn is_on_site(&self) -> bool {
        let mut all = self.deployments.iter();
        all.any(|deployment| deployment.location == Location::OnSite)
    }
}

/// Looks a model up by its exact name or an alias. No I/O.
pub fn resolve(catalog: &Catalog, address: &Address<'_>, model: &str) -> Pool {
    let found = catalog.lookup(address.scope, model);
    let (model, deployments) = found.map_or_else(
        || (Arc::from(""), Vec::new()),
        |(model, deployments)| (model, deployments.to_vec()),
    );
    let scope = match address.scope {
        Scope::Everywhere => ResolvedScope::Everywhere,
        Scope::Framework { cluster, framework } => {
            let cluster = catalog.cluster(cluster).cloned();
            let has_framework = cluster
                .as_ref()
                .is_some_and(|cluster| cluster.frameworks.iter().any(|name| **name == *framework));
            ResolvedScope::Named {
                cluster,
                has_framework,
            }
        }
    };
    Pool {
        model,
        deployments,
        scope,
        api: address.api.clone(),
    }
}
