use std::collections::{BTreeMap, BTreeSet};

use ostia_core::Identity;
use serde_json::{Map, Value, json};

use crate::authorize::{may_see, may_use};
use crate::catalog::{Catalog, Cluster};

/// `GET /list-endpoints`: clusters, their frameworks, models and APIs, as far as the caller may use them. A permitted
/// cluster without endpoints has no frameworks.
pub fn list_endpoints(catalog: &Catalog, identity: &Identity, base_path: &str) -> Value {
    let visible = catalog
        .clusters()
        .iter()
        .filter(|cluster| may_see(cluster, identity));
    let clusters: Map<String, Value> = visible
        .map(|cluster| {
            let entry = json!({
                "base_url": format!("{base_path}/{}", cluster.name),
                "frameworks": frameworks(catalog, cluster, identity),
            });
            (cluster.name.to_string(), entry)
        })
        .collect();
    json!({ "clusters": clusters })
}

fn frameworks(catalog: &Catalog, cluster: &Cluster, identity: &Identity) -> Map<String, Value> {
    let mut models: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for deployment in catalog.deployments() {
        let here = deployment.cluster.name == cluster.name
            && cluster.frameworks.contains(&deployment.framework);
        if here && may_use(deployment, identity) {
            models
                .entry(&deployment.framework)
                .or_default()
                .insert(&deployment.model);
        }
    }
    let endpoints: Vec<String> = cluster
        .openai_endpoints
        .iter()
        .map(|api| format!("/v1/{api}"))
        .collect();
    models
        .into_iter()
        .map(|(framework, models)| {
            let entry = json!({"models": models, "endpoints": endpoints});
            (framework.to_owned(), entry)
        })
        .collect()
}
