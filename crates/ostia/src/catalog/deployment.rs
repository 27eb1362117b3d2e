use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Location, Secret};
use serde_json::Value;

use super::{Access, AgentOptions, BodyPolicy, Isolation, Profile, Register, Scheduler, Target};
use crate::fleet::{EndpointState, Learned, ModelState};

/// A cluster as its fixture describes it.
pub struct Cluster {
    pub name: Arc<str>,
    pub frameworks: Vec<Arc<str>>,
    /// Exact names (`chat/completions`); `audio/*` matches one more segment.
    pub openai_endpoints: Vec<Box<str>>,
    pub access: Access,
    pub adapter: ClusterAdapterName,
    /// The target of `status_url`, if the adapter needs one and it could be read.
    pub status: Option<StatusSource>,
    /// How long a source of the cluster's states may take to answer: `config.api_request_timeout`, never 0, and
    /// bounded.
    pub patience: Duration,
    pub scheduler: Scheduler,
    /// The fixture's whole `config`.
    pub config: Value,
}

/// Where and how to ask for a cluster's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSource {
    /// Origin, TLS, proxy and timeouts of the call. No key is sent.
    pub target: Target,
    /// Path and query to request there.
    pub path_and_query: String,
}

/// The cluster adapter that a fixture asks for, after `[adapters]` was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterAdapterName {
    Static,
    StatusUrl,
    /// Asks each backend for its models and health.
    OpenAiModels,
    Slurm,
    Pbs,
    /// A known name that this version does not serve.
    Unavailable(Box<str>),
    /// `script:PATH`, or a name registered from Rust.
    Custom(Box<str>),
}

/// The hooks around an endpoint's backend, after `[adapters]` was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HooksName {
    /// The file's path.
    Script(Box<str>),
    /// The name under which they were registered from Rust.
    Registered(Box<str>),
}

/// Whether a deployment can accept requests at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    Yes,
    /// Its own entry has a mistake (503 `endpoint_disabled`). The text is for the log and `check`.
    Disabled(Box<str>),
    /// It uses one of FIRST's adapters that is not served yet (503 `adapter_unavailable`).
    AdapterUnavailable(Box<str>),
}

/// How many requests an endpoint gets at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// 0 means unlimited.
    Fixed(u32),
    /// As many as it serves best.
    Auto,
    /// The same, if the engine reports its load; else there is no limit.
    AutoIfTold,
}

/// One entry of the endpoints fixture: one model on one framework of one cluster, behind one URL.
pub struct Deployment {
    /// Position in [`super::Catalog::deployments`]. Parts that belong to a snapshot are stored in vectors under the
    /// same index.
    pub index: usize,
    /// The endpoint's identity: unique, and stable across reloads.
    pub slug: Arc<str>,
    pub cluster: Arc<Cluster>,
    pub framework: Arc<str>,
    /// The canonical name that users request.
    pub model: Arc<str>,
    /// The name that the backend knows.
    pub upstream_model: Arc<str>,
    pub aliases: Vec<Box<str>>,
    pub access: Access,
    /// Tokens per minute; 0 means no limit.
    /// How to get access, for those whom the rules keep out. With it, they may know of the endpoint.
    pub access_hint: Option<Arc<str>>,
    pub tpm_model: u64,
    pub tpm_user: u64,
    pub max_in_flight: Places,
    /// Of one user; 0 means no limit.
    pub in_flight_per_user: u32,
    /// A deployment is used only if none with a lower number is ready.
    pub priority: i64,
    pub weight: u32,
    /// Whether routes without a cluster in their path may use it.
    pub federated: bool,
    /// Fallback models for when no endpoint of this one takes requests, in order of preference.
    pub fallback_models: Vec<Box<str>>,
    /// The kind of its backend: a name in the registry.
    pub kind: Box<str>,
    /// The hooks around its backend.
    pub hooks: Option<HooksName>,
    /// Values of the environment variables that `config.secrets` lists, for adapters.
    pub secrets: BTreeMap<Box<str>, Secret<String>>,
    pub require_running: bool,
    /// Also refuse a model that a fresh listing does not include.
    pub require_listed: bool,
    /// A path on the backend's host, or a URL, that reports whether the backend is ready.
    pub readiness_url: Option<Box<str>>,
    /// The periodic health check.
    pub health: Option<HealthCheck>,
    /// While it does not run, requests wait up to this long in the queue for its start.
    pub wait_for_start: Option<Duration>,
    /// Set if leases say where its engines are: `target` then has no URL.
    pub register: Option<Register>,
    pub target: Target,
    pub isolation: Isolation,
    pub policy: BodyPolicy,
    pub profile: Profile,
    pub agents: AgentOptions,
    /// Where the backend runs.
    pub location: Location,
    /// The fixture's whole `config`.
    pub config: Value,
    pub serving: Serving,
    pub state: Arc<EndpointState>,
    /// The observed usage of requests to the model, from all its endpoints.
    pub learned: Arc<Learned>,
}

/// A check that is made whether or not anybody uses an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub ask: HealthAsk,
    pub interval: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthAsk {
    /// A path on the backend's host: any 2xx will do; a list of models must have the endpoint's.
    Path(Box<str>),
    /// A tiny chat, whose answer must hold text.
    Prompt,
}

impl Places {
    /// Whether the endpoint's best point is held.
    pub fn is_auto(self, state: &EndpointState) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Auto => true,
            Self::AutoIfTold => state.best_point().is_reported(),
        }
    }
}

impl Deployment {
    /// How many requests it gets at a time now; 0 means unlimited.
    pub fn places(&self) -> u32 {
        let own = match self.max_in_flight {
            Places::Fixed(most) => most,
            auto if auto.is_auto(&self.state) => self.state.best_point().cap(),
            _ => 0,
        };
        let leased = match self.register {
            Some(_) => self.state.leases().places(),
            None => 0,
        };
        match (own, leased) {
            (0, most) | (most, 0) => most,
            (own, leased) => own.min(leased),
        }
    }

    /// The state of its engines, if leases say where they are. Before there is a lease, the scheduler may know of its
    /// job.
    pub fn leased_state(&self) -> Option<ModelState> {
        self.register.as_ref()?;
        let by_cluster = match self.cluster.adapter {
            ClusterAdapterName::Static | ClusterAdapterName::Unavailable(_) => ModelState::Stopped,
            _ => self.state.model_state(),
        };
        Some(match (self.state.leases().state(), by_cluster) {
            (
                Some(ModelState::Draining) | None,
                waits @ (ModelState::Queued | ModelState::Starting),
            ) => waits,
            (Some(by_lease), _) => by_lease,
            // Its job has its nodes, and the engine is still loading.
            (None, ModelState::Running) => ModelState::Starting,
            (None, _) => ModelState::Stopped,
        })
    }

    /// Whether something checks the backend's health.
    pub fn is_watched(&self) -> bool {
        // Each of several engines is checked separately.
        self.register.is_none() && (self.readiness_url.is_some() || self.health.is_some())
    }

    /// Whether its cluster lists its framework. If not, no route leads to it.
    pub fn framework_listed(&self) -> bool {
        self.cluster.frameworks.contains(&self.framework)
    }
}

impl Cluster {
    /// Whether `openai_endpoints` lists this API (`chat/completions`, `audio/speech`, ...). A cluster that serves
    /// `messages` or `responses` also serves their sub-routes: counting tokens, compacting and reading responses.
    pub fn serves_api(&self, api: &str) -> bool {
        let of_family = match api.split_once('/') {
            Some((family @ ("messages" | "responses"), _)) => self.lists(family),
            _ => false,
        };
        of_family || self.lists(api)
    }

    fn lists(&self, api: &str) -> bool {
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

/// Omits `config`, which may hold the site's secrets.
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

/// Omits `config`, which may hold the site's secrets.
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
