use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::backend::FakeBackend;
use crate::canary::Canary;

/// The variable that holds the key of every backend.
pub const BACKEND_KEY_VARIABLE: &str = "TESTKIT_BACKEND_KEY";
pub const CLUSTER: &str = "lab";
pub const FRAMEWORK: &str = "vllm";
/// Who the client's key belongs to.
pub const USER: &str = "tester@example.org";
/// What every key of a gateway begins with.
const KEY_PREFIX: &str = "sk-ostia-";

/// An installation before it starts: settings, fixtures, variables, a folder of its own.
pub struct Site {
    folder: TempDir,
    clusters: BTreeMap<String, Value>,
    endpoints: Vec<Endpoint>,
    settings: toml::Table,
    variables: BTreeMap<String, String>,
    faults_allowed: bool,
    guarded: Vec<Canary>,
    answered_within: Vec<String>,
    /// The database of another installation.
    database: Option<PathBuf>,
    pub secrets: Secrets,
}

/// The secrets that must not be found anywhere.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The random part of the client's key.
    pub client_key: Canary,
    pub backend_key: Canary,
    /// A word for prompts, to check that prompts are in no log and no table.
    pub prompt: Canary,
}

/// One entry of the endpoints fixture.
#[derive(Debug, Clone)]
pub struct Endpoint {
    cluster: String,
    framework: String,
    fields: Map<String, Value>,
    config: Map<String, Value>,
}

impl Endpoint {
    /// A model behind a base URL (`http://host:port/v1`), on cluster [`CLUSTER`] and framework [`FRAMEWORK`].
    pub fn new(model: &str, api_url: &str) -> Self {
        let mut endpoint = Self {
            cluster: CLUSTER.to_owned(),
            framework: FRAMEWORK.to_owned(),
            fields: Map::new(),
            config: Map::new(),
        };
        endpoint.fields.insert("model".to_owned(), json!(model));
        endpoint
            .config("api_url", json!(api_url))
            .config("api_key_env_name", json!(BACKEND_KEY_VARIABLE))
            // Its metrics are not asked for: a fake backend counts every request.
            .config("max_in_flight", json!(0))
    }

    pub fn of(model: &str, backend: &FakeBackend) -> Self {
        Self::new(model, &format!("{}/v1", backend.base_url()))
    }

    /// A model whose engines say where they are, on loopback.
    pub fn leased(model: &str) -> Self {
        let mut endpoint = Self::new(model, "");
        endpoint.config.remove("api_url");
        endpoint
            .config("register", json!(true))
            .config("register_networks", json!(["127.0.0.0/8"]))
    }

    #[must_use]
    pub fn on(mut self, cluster: &str, framework: &str) -> Self {
        cluster.clone_into(&mut self.cluster);
        framework.clone_into(&mut self.framework);
        self
    }

    /// Sets a key of `fields` (`tpm_user`, `allowed_domains`, `endpoint_slug`, ...).
    #[must_use]
    pub fn field(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// Sets a key of `fields.config` (`max_in_flight`, `upstream_model`, ...).
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    fn fixture(&self) -> Value {
        let mut fields = self.fields.clone();
        fields.insert("cluster".to_owned(), json!(self.cluster));
        fields.insert("framework".to_owned(), json!(self.framework));
        fields.insert("config".to_owned(), Value::Object(self.config.clone()));
        json!({"model": "resource_server_async.endpoint", "pk": null, "fields": fields})
    }
}

impl Secrets {
    fn new() -> Self {
        let long = || format!("{}{}", Canary::new("").secret(), Canary::new("").secret());
        Self {
            client_key: Canary::of("the client's key", &long()),
            backend_key: Canary::new("the backend's key"),
            prompt: Canary::new("the prompt"),
        }
    }

    /// The whole key that the client sends.
    pub fn client_bearer(&self) -> String {
        format!("{KEY_PREFIX}{}", self.client_key.secret())
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// An empty installation: both listeners on free loopback ports, API keys, SQLite in a temporary folder, no limits.
    /// A test that sets a limit gets exact, immediate refusals.
    pub fn new() -> Self {
        let secrets = Secrets::new();
        let backend_key = secrets.backend_key.secret().to_owned();
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            clusters: BTreeMap::new(),
            endpoints: Vec::new(),
            settings: toml::Table::new(),
            variables: BTreeMap::from([(BACKEND_KEY_VARIABLE.to_owned(), backend_key)]),
            faults_allowed: false,
            guarded: Vec::new(),
            answered_within: Vec::new(),
            database: None,
            secrets,
        };
        site.settings(
            r#"
            [server]
            listen = "127.0.0.1:0"
            admin_listen = "127.0.0.1:0"
            drain_grace = "0"
            [fixtures]
            clusters = "clusters.json"
            endpoints = "endpoints.json"
            [store]
            url = "sqlite://ostia.db"
            [auth]
            providers = ["api_key"]
            [limits]
            requests_per_second_per_user = 0
            max_in_flight_per_user = 0
            tpm_model = 0
            tpm_user = 0
            reserve_output = "max_tokens"
            queue_timeout = "0"
            "#,
        )
    }

    /// Adds one model behind one backend.
    #[must_use]
    pub fn model(self, model: &str, backend: &FakeBackend) -> Self {
        self.endpoint(Endpoint::of(model, backend))
    }

    /// Adds an endpoint, and its cluster and framework if they are new.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        let cluster = self.clusters.entry(endpoint.cluster.clone()).or_insert_with(|| {
            json!({
                "cluster_name": endpoint.cluster, "frameworks": [],
                "openai_endpoints": ["chat/completions", "completions", "embeddings", "responses", "messages",
                                     "rerank", "score", "tokenize", "audio/*", "images/*"],
            })
        });
        if let Some(frameworks) = cluster["frameworks"].as_array_mut()
            && !frameworks.contains(&json!(endpoint.framework))
        {
            frameworks.push(json!(endpoint.framework));
        }
        self.endpoints.push(endpoint);
        self
    }

    /// Sets a key of a cluster that an endpoint brought (`openai_endpoints`, `allowed_domains`, ...).
    #[must_use]
    pub fn cluster(mut self, cluster: &str, key: &str, value: Value) -> Self {
        let fields = self
            .clusters
            .get_mut(cluster)
            .expect("a cluster that an endpoint names");
        fields[key] = value;
        self
    }

    /// Merges a piece of `ostia.toml` into the present settings, key by key.
    #[must_use]
    pub fn settings(mut self, text: &str) -> Self {
        let table = text
            .parse()
            .unwrap_or_else(|error| panic!("{error} in {text}"));
        lay_over(&mut self.settings, table);
        self
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts although entries have faults, as `serve` does without `--strict`.
    #[must_use]
    pub const fn with_faults(mut self) -> Self {
        self.faults_allowed = true;
        self
    }

    pub(super) const fn is_strict(&self) -> bool {
        !self.faults_allowed
    }

    /// One more secret that must not be found anywhere at the end.
    #[must_use]
    pub fn guard(mut self, secret: &Canary) -> Self {
        self.guarded.push(secret.clone());
        self
    }

    /// No fake backend answers for this model: the test itself checks its rows.
    #[must_use]
    pub fn answered_within(mut self, model: &str) -> Self {
        self.answered_within.push(model.to_owned());
        self
    }

    pub(super) fn is_answered_within(&self, model: &str) -> bool {
        self.answered_within.iter().any(|known| known == model)
    }

    pub(super) fn guarded(&self) -> &[Canary] {
        &self.guarded
    }

    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder().join("ostia.toml")
    }

    /// The SQLite file; of a site on PostgreSQL, where [`Site::fetch_database`] copies everything to.
    pub fn database_path(&self) -> PathBuf {
        let own = || self.folder().join("ostia.db");
        self.database.clone().unwrap_or_else(own)
    }

    /// A replica: keys, users and rows are in another installation's database, and so is its client's key.
    #[must_use]
    pub fn replica_of(mut self, other: &Self) -> Self {
        self.database = Some(other.database_path());
        self.settings(&format!("[store]\nurl = \"{}\"", other.database_url()))
    }

    pub(super) const fn is_replica(&self) -> bool {
        self.database.is_some()
    }

    /// Keeps everything in a PostgreSQL database, whose tables [`Site::prepare`] makes.
    #[must_use]
    pub fn on_postgres(self, url: &str) -> Self {
        self.settings(&format!("[store]\nurl = \"{url}\""))
    }

    /// Where everything is kept.
    pub fn database_url(&self) -> String {
        let url = self.settings["store"]["url"].as_str().unwrap();
        match url.starts_with("sqlite:") {
            true => format!("sqlite://{}", self.database_path().display()),
            false => url.to_owned(),
        }
    }

    /// Has all of the database in the SQLite file, where tests read it.
    pub async fn fetch_database(&self) {
        let (url, path) = (self.database_url(), self.database_path());
        if url.starts_with("sqlite:") {
            return;
        }
        for end in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(end);
            let _ = std::fs::remove_file(file);
        }
        let file = format!("sqlite://{}", path.display());
        ostia_store::copy(&url, &file).await.unwrap();
    }

    /// Writes `ostia.toml` and both fixtures into the folder; again after a change, for a reload.
    pub fn write(&self) {
        let clusters: Vec<_> = self
            .clusters
            .values()
            .map(|fields| json!({"model": "resource_server_async.cluster", "pk": null, "fields": fields}))
            .collect();
        let endpoints: Vec<_> = self.endpoints.iter().map(Endpoint::fixture).collect();
        let write =
            |name: &str, text: String| std::fs::write(self.folder().join(name), text).unwrap();
        write("clusters.json", json!(clusters).to_string());
        write("endpoints.json", json!(endpoints).to_string());
        write("ostia.toml", self.settings.to_string());
    }
}

fn lay_over(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(more)) => lay_over(inner, more),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_laid_over_key_by_key() {
        let site = Site::new().settings("[limits]\ntpm_user = 7\n[catalog.aliases]\n\"a\" = \"b\"");
        let limits = site.settings["limits"].as_table().unwrap();
        assert_eq!(limits["tpm_user"].as_integer(), Some(7));
        assert_eq!(limits["tpm_model"].as_integer(), Some(0));
        assert_eq!(site.settings["catalog"]["aliases"]["a"].as_str(), Some("b"));
    }

    #[test]
    fn fixtures_hold_every_endpoint_and_its_cluster() {
        let url = "http://127.0.0.1:1/v1";
        let site = Site::new().endpoint(Endpoint::new("a", url)).endpoint(
            Endpoint::new("b", url)
                .on("lab", "sglang")
                .config("max_in_flight", json!(2)),
        );
        site.write();
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(site.folder().join(name)).unwrap()).unwrap()
        };
        let clusters = read("clusters.json");
        assert_eq!(clusters.as_array().unwrap().len(), 1);
        assert_eq!(
            clusters[0]["fields"]["frameworks"],
            json!(["vllm", "sglang"])
        );
        let endpoints = read("endpoints.json");
        assert_eq!(endpoints[1]["fields"]["config"]["max_in_flight"], 2);
        assert_eq!(endpoints[0]["fields"]["config"]["api_url"], url);
        let all = std::fs::read_to_string(site.config_path()).unwrap() + &*endpoints.to_string();
        assert_eq!(site.secrets.backend_key.find(all.as_bytes()), None);
    }
}
