use std::sync::Arc;

use ostia_core::Identity;
use serde_json::{Value, json};

use super::state::best_state;
use crate::authorize::{Denied, NoticeLookup, may_see, may_use};
use crate::catalog::{Catalog, Deployment, Scope};

/// What lists of models are made from.
pub struct Models<'a, N> {
    pub catalog: &'a Catalog,
    pub notices: &'a N,
    pub identity: &'a Identity,
    /// The `created` of every model, in Unix seconds: the gateway's start, for lack of anything better.
    pub created: i64,
}

impl<N: NoticeLookup> Models<'_, N> {
    /// OpenAI's list of models: the canonical names that the caller may use, sorted.
    pub fn list(&self, scope: Scope<'_>) -> Result<Value, Denied> {
        self.check(scope)?;
        let models = self.catalog.models(scope);
        let data: Vec<Value> = models
            .filter_map(|(name, deployments)| self.model(name, deployments))
            .collect();
        Ok(json!({"object": "list", "data": data}))
    }

    /// One model by its name or an alias; the result has its canonical name.
    pub fn find(&self, scope: Scope<'_>, name: &str) -> Result<Value, Denied> {
        self.check(scope)?;
        self.catalog
            .lookup(scope, name)
            .and_then(|(name, deployments)| self.model(&name, deployments))
            .ok_or(Denied::ModelNotFound)
    }

    /// Whether the caller may see the cluster, and the cluster lists the framework. Maintenance hides nothing.
    fn check(&self, scope: Scope<'_>) -> Result<(), Denied> {
        let Scope::Framework { cluster, framework } = scope else {
            return Ok(());
        };
        let cluster = self
            .catalog
            .cluster(cluster)
            .filter(|cluster| may_see(cluster, self.identity))
            .ok_or(Denied::ClusterNotFound)?;
        let listed = cluster.frameworks.iter().any(|name| **name == *framework);
        listed.then_some(()).ok_or(Denied::UnsupportedFramework)
    }

    fn model(&self, name: &str, deployments: &[Arc<Deployment>]) -> Option<Value> {
        let allowed: Vec<&Arc<Deployment>> = deployments
            .iter()
            .filter(|deployment| may_use(deployment, self.identity))
            .collect();
        let first = allowed.first()?;
        Some(json!({
            "id": name,
            "object": "model",
            "created": self.created,
            "owned_by": first.cluster.name,
            "state": best_state(&allowed, self.notices).as_str(),
        }))
    }
}
