use std::sync::Arc;

use ostia_core::Identity;
use serde_json::{Map, Value, json};

use super::described::Described;
use crate::authorize::{NoticeLookup, may_use};
use crate::catalog::Deployment;

/// `GET /{cluster}/models`: the models of a cluster that the caller may use, by lower-cased name; replicas share one
/// entry. `wanted`: only this model, by its name or an alias. `details`: keys of the endpoint's config to show.
pub fn cluster_models(
    deployments: &[Arc<Deployment>],
    identity: &Identity,
    notices: &impl NoticeLookup,
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
        .filter_map(|group| entry(group, notices, details))
        .collect()
}

fn entry(
    replicas: &[&Arc<Deployment>],
    notices: &impl NoticeLookup,
    details: &[String],
) -> Option<Value> {
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
    let described = Described::of(&first.model, replicas, notices)?;
    entry.insert("state".to_owned(), json!(described.state.as_str()));
    described.add_known_to(&mut entry);
    Some(Value::Object(entry))
}
