use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::Secret;
use serde_json::Value;

use super::{Access, Isolation, Scheduler, Target};
use crate::fleet::EndpointState;

/// A cluster as its fixture describes it.
pub struct Cluster {
    pub name: Arc<str>,
    pub frameworks: Vec<Arc<str>>,
    /// Exact names (`chat/completions`); `audio/*` matches one more segment.
    pub openai_endpoints: Vec<Box<str>>,
    pub access: Access,
    pub adapter: ClusterAdapterName,
    /// Where `status_url` points, if the adapter asks for one and it could be read.
    pub status: Option<StatusSource>,
    /// How long whatever tells the cluster's states has for an answer: `config.api_request_timeout`, never 0 and bounded.
    pub patience: Duration,
    pub scheduler: Scheduler,
    /// The fixture's `config`, whole.
    pub config: Value,
}

/// Where a cluster's state is asked for, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSource {
    /// Origin, TLS, proxy and timeouts of the call; no key.
    pub target: Target,
    /// What is asked for there.
    pub path_and_query: String,
}

/// Which cluster adapter a fixture asks for, after `[adapters]` was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterAdapterName {
    Static,
    StatusUrl,
    /// Asks each backend for its models and health.
    OpenAiModels,
    Slurm,
    Pbs,
    /// Known by name, not served by this version.
    Unavailable(Box<str>),
    /// `script:PATH`, or a name registered from Rust.
    Custom(Box<str>),
}

/// Which hooks stand around an endpoint's backend, after `[adapters]` was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HooksName {
    /// With the file's path.
    Script(Box<str>),
    /// By the name under which they were registered from Rust.
    Registered(Box<str>),
}

/// Whether a deployment takes requests at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    Yes,
    /// A fault of its own entry (503 `endpoint_disabled`); the text is for the log and `check`.
    Disabled(Box<str>),
    /// One of FIRST's adapters that is not served yet (503 `adapter_unavailable`).
    AdapterUnavailable(Box<str>),
}

/// One entry of the endpoints fixture: one model on one framework of one cluster, behind one URL.
pub struct Deployment {
    /// Position in [`super::Catalog::deployments`]; parts that belong to a snapshot are kept in vectors by it.
    pub index: usize,
    /// The endpoint's identity: unique, and kept over reloads.
    pub slug: Arc<str>,
    pub cluster: Arc<Cluster>,
    pub framework: Arc<str>,
    /// The canonical name that users ask for.
    pub model: Arc<str>,
    /// The name that the backend gets.
    pub upstream_model: Arc<str>,
    pub aliases: Vec<Box<str>>,
    pub access: Access,
    /// Tokens a minute; 0 is off.
    pub tpm_model: u64,
    pub tpm_user: u64,
    /// 0 is off.
    pub max_in_flight: u32,
    /// A higher number is used only when the lower has none ready.
    pub priority: i64,
    pub weight: u32,
    /// Whether routes without a cluster in their path may use it.
    pub federated: bool,
    /// The kind of its backend, by its name in the registry.
    pub kind: Box<str>,
    /// What stands around its backend.
    pub hooks: Option<HooksName>,
    /// Values of the environment variables that `config.secrets` lists, for adapters.
    pub secrets: BTreeMap<Box<str>, Secret<String>>,
    pub require_running: bool,
    /// A model that a fresh listing does not name is refused too.
    pub require_listed: bool,
    /// A path on the backend's host, or a URL, that says whether it is ready.
    pub readiness_url: Option<Box<str>>,
    pub target: Target,
    pub isolation: Isolation,
    /// The fixture's `config`, whole.
    pub config: Value,
    pub serving: Serving,
    pub state: Arc<EndpointState>,
}

impl Deployment {
    /// Whether its cluster lists its framework; if not, it is on no route.
    pub fn framework_listed(&self) -> bool {
        self.cluster.frameworks.contains(&self.framework)
    }
}

impl Cluster {
    /// Whether `openai_endpoints` lists this api (`chat/completions`, `audio/speech`, ...). Who serves `messages` counts
    /// their tokens too.
    pub fn serves_api(&self, api: &str) -> bool {
        let api = if api == "messages/count_tokens" {
            "messages"
        } else {
            api
        };
        self.openai_endpoints
            .iter()
            .any(|listed| match listed.strip_suffix("/*") {
                Some(family) => api
                    .strip_prefix(family)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .is_some_and(|last| !last.is_empty() && !last.contains('/')),
                None => **listed == *api,
            })
    }
}

/// Without `config`, which may hold what the site keeps secret.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .field("frameworks", &self.frameworks)
            .field("access", &self.access)
            .field("adapter", &self.adapter)
            .finish_non_exhaustive()
    }
}

/// Without `config`, which may hold what the site keeps secret.
impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("slug", &self.slug)
            .field("cluster", &self.cluster.name)
            .field("framework", &self.framework)
            .field("model", &self.model)
            .field("access", &self.access)
            .field("kind", &self.kind)
            .field("hooks", &self.hooks)
            .field("target", &self.target)
            .field("serving", &self.serving)
            .finish_non_exhaustive()
    }
}
