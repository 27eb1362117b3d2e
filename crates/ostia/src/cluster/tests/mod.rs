mod pbs;
mod schedulers;
mod slurm;
mod status_url;
mod watch;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::catalog::{Catalog, Deployment, Scheduler};
use crate::config::{Sources, load};
use crate::fleet::Fleet;

/// A catalog with one cluster `c`, whose fixture gets these further fields, and these endpoints, which add their
/// `fields` to the usual ones.
pub(crate) fn catalog(cluster: &Value, endpoints: &[Value]) -> Catalog {
    let folder = tempfile::tempdir().unwrap();
    let entry = |kind: &str, usual: Value, more: &Value| {
        let mut fields = usual;
        for (key, value) in more.as_object().into_iter().flatten() {
            fields[key] = value.clone();
        }
        json!({"model": format!("resource_server_async.{kind}"), "fields": fields})
    };
    let usual = json!({"cluster_name": "c", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"]});
    let clusters = json!([entry("cluster", usual, cluster)]);
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|more| {
            let config = json!({"api_url": "http://127.0.0.1:9/v1"});
            let usual = json!({"cluster": "c", "framework": "vllm", "config": config});
            entry("endpoint", usual, more)
        })
        .collect();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("clusters.json", clusters.to_string());
    write("endpoints.json", json!(endpoints).to_string());
    let settings = "[fixtures]\nclusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n";
    write("ostia.toml", settings.to_owned());
    let sources = Sources {
        config: Some(folder.path().join("ostia.toml")),
        registered_clusters: vec!["own".to_owned()],
        ..Sources::default()
    };
    let loaded = load(&sources, &Fleet::default());
    assert!(!loaded.fatal(true), "{:#?}", loaded.problems);
    loaded.catalog
}

/// The deployments of models with these names.
fn deployments(models: &[&str]) -> Vec<Arc<Deployment>> {
    let endpoints: Vec<Value> = models.iter().map(|model| json!({"model": model})).collect();
    catalog(&json!({}), &endpoints).deployments().to_vec()
}

/// A scheduler as read from this `config`.
fn scheduler(config: &Value) -> Scheduler {
    let mut config = config.clone();
    config["slurmrestd_url"] = json!("http://127.0.0.1:9/slurm/v0.0.40/jobs/");
    let cluster = json!({"cluster_adapter": "slurm", "config": config});
    let catalog = catalog(&cluster, &[json!({"model": "m"})]);
    catalog.clusters()[0].scheduler.clone()
}

/// The models of a list of jobs, joined.
fn names(jobs: &[super::Job]) -> Vec<String> {
    jobs.iter().map(|job| job.models.join(",")).collect()
}
