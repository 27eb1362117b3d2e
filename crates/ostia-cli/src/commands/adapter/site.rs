use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ostia::boot::Running;
use ostia::catalog::HttpUrl;
use ostia::fleet::Fleet;
use ostia::script::Program;
use ostia_core::Secret;
use serde_json::{Map, Value, json};

use super::recorder::{KEY, Recorder, STATE_PATH};
use super::request::Recorded;
use crate::arguments::Setup;
use crate::commands::serve::not_started;
use crate::commands::trial::{Holder, Trial, any_port};
use crate::failure::Failure;

const CLUSTER: &str = "test";
const FRAMEWORK: &str = "test";
/// `cache_salt` and `affinity_header` need a secret; here any value will do.
const FILES: &str = "[fixtures]\nclusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n\
                     [limits]\nqueue_timeout = \"0\"\n\
                     [routing]\nhmac_key = \"of ostia adapter test, and nowhere else\"\n";
/// Settings of the connection to the real backend, which do not apply: the recorder speaks plain HTTP.
const CONNECTION: [&str; 10] = [
    "allowed_hosts",
    "ca_cert_path",
    "check_hostname",
    "client_cert_path",
    "client_key_path",
    "min_tls",
    "proxy_url",
    "readiness_url",
    "register",
    "trust_env",
];

/// A gateway with one cluster that uses the script.
pub(super) struct Site {
    trial: Trial,
    running: Running,
    jobs: bool,
}

impl Site {
    pub(super) async fn start(
        setup: &Setup,
        recorded: &Recorded,
        script: &Path,
        program: &Program,
        recorder: &Recorder,
    ) -> Result<Self, Failure> {
        let jobs = program.has("jobs") && !program.has("on_request");
        let trial = Trial::new(Holder {
            username: recorded.user.clone(),
            groups: recorded.groups.clone(),
        })
        .await?;
        let script = format!("script:{}", script.display());
        let (cluster, endpoints) = match jobs {
            true => around_jobs(recorded, &script, recorder),
            false => around_request(recorded, &script, recorder),
        };
        trial.write("clusters.json", &entries("cluster", vec![cluster]))?;
        trial.write("endpoints.json", &entries("endpoint", endpoints))?;
        let config = trial.write("ostia.toml", FILES)?;
        let mut variables = recorded.secrets.clone();
        if let Some(name) = recorded
            .config
            .get("api_key_env_name")
            .and_then(Value::as_str)
        {
            variables.insert(name.to_owned(), KEY.to_owned());
        }
        let fleet = Arc::<Fleet>::default();
        let environment = variables.into_iter().collect();
        let (settings, catalog) = trial.load(setup, config, environment, &fleet)?;
        let started = trial.serve(setup, settings, catalog, fleet, any_port());
        let running = started.await.map_err(|error| not_started(&error))?;
        Ok(Self {
            trial,
            running,
            jobs,
        })
    }

    pub(super) fn key(&self) -> &Secret<String> {
        &self.trial.key
    }

    pub(super) fn asks_for_jobs(&self) -> bool {
        self.jobs
    }

    pub(super) fn url(&self, recorded: &Recorded) -> String {
        let address = self.running.address();
        let address = address
            .map(|address| address.to_string())
            .unwrap_or_default();
        match self.jobs {
            true => format!("http://{address}/{CLUSTER}/jobs"),
            false => format!("http://{address}/v1/{}", recorded.api),
        }
    }

    /// Returns after `on_complete` has run.
    pub(super) async fn stop(self) {
        self.running.shut_down(Duration::ZERO, ready(())).await;
    }
}

fn around_request(recorded: &Recorded, script: &str, recorder: &Recorder) -> (Value, Vec<Value>) {
    let mut cluster = json!({
        "cluster_name": CLUSTER, "frameworks": [FRAMEWORK], "openai_endpoints": [recorded.api],
    });
    if recorded.state.is_some() {
        cluster["cluster_adapter"] = "status_url".into();
        cluster["config"] =
            json!({"status_url": format!("http://{}{STATE_PATH}", recorder.address)});
    }
    let mut config = without_connection(&recorded.config);
    config.insert(
        "api_url".to_owned(),
        here(&recorded.config, "api_url", "/v1", recorder),
    );
    config.entry("secrets").or_insert_with(|| {
        let names = recorded.secrets.keys().map(String::as_str);
        Value::from_iter(names)
    });
    let endpoint = endpoint(recorded.model(), &config, script);
    (cluster, vec![endpoint])
}

fn around_jobs(recorded: &Recorded, script: &str, recorder: &Recorder) -> (Value, Vec<Value>) {
    let mut config = without_connection(&recorded.config);
    let status = here(&recorded.config, "status_url", "/status", recorder);
    config.insert("status_url".to_owned(), status);
    let cluster = json!({
        "cluster_name": CLUSTER, "frameworks": [FRAMEWORK], "openai_endpoints": [recorded.api],
        "cluster_adapter": script, "config": config,
    });
    let usual = [recorded.model().to_owned()];
    let models = match recorded.models.is_empty() {
        true => &usual[..],
        false => &recorded.models,
    };
    let plain = Map::from_iter([(
        "api_url".to_owned(),
        here(&Map::new(), "api_url", "/v1", recorder),
    )]);
    let endpoints = models
        .iter()
        .map(|model| endpoint(model, &plain, "direct_api"));
    (cluster, endpoints.collect())
}

fn endpoint(model: &str, config: &Map<String, Value>, adapter: &str) -> Value {
    json!({
        "cluster": CLUSTER, "framework": FRAMEWORK, "model": model, "endpoint_adapter": adapter, "config": config,
    })
}

fn without_connection(config: &Map<String, Value>) -> Map<String, Value> {
    let mut config = config.clone();
    config.retain(|name, _| !CONNECTION.contains(&name.as_str()));
    config
}

/// The URL under a key, with the recorder as its host.
fn here(config: &Map<String, Value>, key: &str, usual: &str, recorder: &Recorder) -> Value {
    let given = config.get(key).and_then(Value::as_str);
    let path = match given.map(HttpUrl::parse) {
        Some(Ok(url)) => url.path_and_query(),
        _ => usual.to_owned(),
    };
    format!("http://{}{path}", recorder.address).into()
}

fn entries(kind: &str, all: Vec<Value>) -> String {
    let entries = all.into_iter().enumerate().map(
        |(at, fields)| json!({"model": format!("resource_server_async.{kind}"), "pk": at + 1, "fields": fields}),
    );
    Value::from_iter(entries).to_string()
}
