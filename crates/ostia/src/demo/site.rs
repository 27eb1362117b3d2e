use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Demo, MODELS};

/// Requests a second and tokens a minute that nobody reaches by hand, and that still show in answers' headers.
const SETTINGS: &str = r#"# An installation around the simulated backend.
[server]
listen = "127.0.0.1:8000"
admin_listen = "127.0.0.1:0"
drain_timeout = "2s"
[fixtures]
clusters = "clusters.json"
endpoints = "endpoints.json"
[store]
url = "sqlite://ostia.db"
[auth]
providers = ["api_key"]
[limits]
requests_per_second_per_user = 1000
tpm_model = 100000000
tpm_user = 100000000
# Soon, so that demo-slow and demo-halting show them.
[upstream]
keepalive_comment = "1s"
"#;
const CLUSTER: &str = "demo";
const FRAMEWORK: &str = "simulated";

/// Writes `ostia.toml` and both fixtures into a folder, and gives the path of the first.
pub fn write_site(demo: &Demo, folder: &Path) -> io::Result<PathBuf> {
    let cluster = json!([{"model": "resource_server_async.cluster", "pk": 1, "fields": {
        "cluster_name": CLUSTER,
        "frameworks": [FRAMEWORK],
        "openai_endpoints": ["chat/completions", "completions", "embeddings", "responses", "messages"],
    }}]);
    let api_url = demo.api_url();
    let endpoints: Vec<Value> = MODELS
        .iter()
        .enumerate()
        .map(|(at, model)| {
            json!({"model": "resource_server_async.endpoint", "pk": at + 1, "fields": {
                "cluster": CLUSTER, "framework": FRAMEWORK, "model": model.name,
                "config": {
                    "api_url": api_url, "api_request_timeout": model.patience_seconds,
                    "context_window": 131_072, "max_output_tokens": 16_384, "tool_calling": true,
                },
            }})
        })
        .collect();
    let config = folder.join("ostia.toml");
    std::fs::write(&config, SETTINGS)?;
    std::fs::write(folder.join("clusters.json"), cluster.to_string())?;
    std::fs::write(
        folder.join("endpoints.json"),
        Value::from(endpoints).to_string(),
    )?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ostia_core::SystemClock;

    use super::*;
    use crate::config::{Environment, Sources, load};
    use crate::demo::Pace;
    use crate::fleet::Fleet;

    #[tokio::test]
    async fn the_site_loads_without_a_word() {
        let demo = Demo::start(Pace::NONE, Arc::new(SystemClock))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let sources = Sources {
            config: Some(write_site(&demo, folder.path()).unwrap()),
            environment: Environment::default(),
            ..Sources::default()
        };
        let loaded = load(&sources, &Fleet::default());
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        assert_eq!(loaded.catalog.deployments().len(), MODELS.len());
    }
}
