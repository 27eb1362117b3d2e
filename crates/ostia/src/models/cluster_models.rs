use std::sync::Arc;

use ostia_core::Identity;
use serde_json::{Map, Value, json};

use crate::authorize::may_use;
use crate::catalog::{Deployment, Serving};
use crate::fleet::ModelState;

/// `GET /{cluster}/models`: what the caller may use of a cluster, by lower-cased name; replicas are one entry.
/// `wanted`: only this model, by its name or an alias. `details`: keys of the endpoint's config that are shown.
pub fn cluster_models(
    deployments: &[Arc<Deployment>],
    identity: &Identity,
    wanted: Option<&str>,
    details: &[String],
) -> Vec<Value> {
    let named = |deployment: &Deployment| {
        wanted.is_none_or(|name| {
            *deployment.model == *name || deployment.aliases.iter().any(|alias| **alias == *name)
        })
    };
    let visible = deployments
        .iter()
        .filter(|deployment| named(deployment) && may_use(deployment, identity));
    let mut groups: Vec<Vec<&Arc<Deployment>>> = Vec::new();
    for deployment in visible {
        let same = |group: &&mut Vec<&Arc<Deployment>>| {
            group.first().is_some_and(|first| {
                first.model == deployment.model && first.framework == deployment.framework
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(deployment),
            None => groups.push(vec![deployment]),
        }
    }
    groups.sort_by_cached_key(|group| {
        group
            .first()
            .map(|first| (first.model.to_lowercase(), Arc::clone(&first.framework)))
    });
    groups
        .iter()
        .filter_map(|group| entry(group, details))
        .collect()
}

fn entry(replicas: &[&Arc<Deployment>], details: &[String]) -> Option<Value> {
    let first = replicas.first()?;
    let mut entry = Map::new();
    entry.insert("id".to_owned(), json!(first.model));
    entry.insert("object".to_owned(), json!("model"));
    entry.insert("cluster".to_owned(), json!(first.cluster.name));
    entry.insert("framework".to_owned(), json!(first.framework));
    for key in details {
        if let Some(value) = first.config.get(key) {
            entry.entry(key.as_str()).or_insert_with(|| value.clone());
        }
    }
    let limits = [
        ("rate_limit_token_per_minute", first.tpm_model),
        ("rate_limit_token_per_minute_per_user", first.tpm_user),
    ];
    for (key, limit) in limits {
        if limit > 0 {
            entry.insert(key.to_owned(), json!(limit));
        }
    }
    entry.insert("state".to_owned(), json!(best_state(replicas).as_str()));
    Some(Value::Object(entry))
}

/// The state of the replica that is nearest to serving.
fn best_state(replicas: &[&Arc<Deployment>]) -> ModelState {
    use ModelState::{Queued, Running, Starting, Stopped, Unknown};
    let states: Vec<ModelState> = replicas.iter().map(|replica| state_of(replica)).collect();
    [Running, Starting, Queued, Unknown, Stopped]
        .into_iter()
        .find(|state| states.contains(state))
        .unwrap_or(Unknown)
}

fn state_of(deployment: &Deployment) -> ModelState {
    match deployment.serving {
        Serving::Yes => deployment.state.model_state(),
        Serving::Disabled(_) | Serving::AdapterUnavailable(_) => ModelState::Stopped,
    }
}
