use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use ostia_core::Clock;

use super::engine::Engine;
use super::health::Health;
use super::leased::LeasedHealth;
use super::openai_models::OpenAiModels;
use super::pbs::Pbs;
use super::readiness::Readiness;
use super::script::ScriptCluster;
use super::slurm::Slurm;
use super::static_state::Static;
use super::status_url::StatusUrl;
use super::{ClusterAdapter, ClusterContext, Jobs, JobsError, Watch};
use crate::backend::Leased;
use crate::cache::Cache;
use crate::catalog::{Catalog, Cluster, ClusterAdapterName, Deployment, Target};
use crate::runtime::spawn;
use crate::script::Scripts;
use crate::upstream::{Ask, Http};

/// Cluster adapters that are written in Rust, by the name that fixtures use.
pub type ClusterAdapters = BTreeMap<String, Arc<dyn ClusterAdapter>>;

/// How often readiness URLs are asked.
const READINESS: Duration = Duration::from_secs(5);
/// How long a readiness URL may take. Shorter than the interval, so that rounds do not overlap.
const READINESS_LIMIT: Duration = Duration::from_secs(3);
/// How long a health check may take: an engine that is busy answers its prompt late.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);
/// How long an engine may take to report its load. Shorter than the interval at which it is asked.
const ENGINE_LIMIT: Duration = Duration::from_millis(900);

/// The clusters of one catalog, each with its last known jobs.
#[derive(Default)]
pub struct Clusters {
    watches: HashMap<Arc<str>, Arc<Watch>>,
    readiness: Vec<Readiness>,
    health: Vec<Arc<Health>>,
    engines: Vec<Engine>,
    leased: Vec<Arc<LeasedHealth>>,
}

/// What clusters are built with.
pub struct Workshop<'a> {
    pub registered: &'a ClusterAdapters,
    pub scripts: &'a Scripts,
    pub cache: &'a Arc<Cache>,
    pub clock: &'a Arc<dyn Clock>,
    /// An HTTP client for a target; `None` where it has no usable one.
    pub ask: &'a dyn Fn(&Target) -> Option<Arc<dyn Ask>>,
    /// The HTTP client of a deployment's backend.
    pub ask_backend: &'a dyn Fn(&Deployment) -> Option<Arc<dyn Ask>>,
    /// The leased engines of a deployment, if it has a register.
    pub leased: &'a dyn Fn(&Deployment) -> Option<Arc<Leased>>,
}

impl Clusters {
    /// `earlier`: the clusters before a reload. Those that did not change keep their last known jobs.
    pub fn build(catalog: &Catalog, workshop: &Workshop<'_>, earlier: Option<&Self>) -> Self {
        let watches = catalog.clusters().iter().map(|cluster| {
            let deployments = catalog.of_cluster(&cluster.name).to_vec();
            let watch = Watch::new(
                workshop.context(cluster, deployments.clone()),
                workshop.adapter(cluster, &deployments),
            );
            if let Some(known) = earlier.and_then(|earlier| earlier.watch(&cluster.name))
                && known.cluster().adapter == cluster.adapter
                && cluster.adapter != ClusterAdapterName::Static
                && known.cluster().config == cluster.config
            {
                watch.inherit(known);
            }
            (Arc::clone(&cluster.name), Arc::new(watch))
        });
        let readiness = catalog.deployments().iter().filter_map(|deployment| {
            let http = workshop.http_of(deployment, READINESS_LIMIT);
            Readiness::of(deployment, http)
        });
        let health = catalog.deployments().iter().filter_map(|deployment| {
            let http = workshop.http_of(deployment, HEALTH_LIMIT);
            Health::of(deployment, http, workshop.clock.now())
        });
        let engines = catalog.deployments().iter().filter_map(|deployment| {
            let http = workshop.http_of(deployment, ENGINE_LIMIT);
            Engine::of(deployment, http)
        });
        let leased = catalog.deployments().iter().filter_map(|deployment| {
            let leased = (workshop.leased)(deployment)?;
            Some(LeasedHealth::new(deployment, &leased, HEALTH_LIMIT))
        });
        Self {
            leased: leased.collect(),
            health: health.collect(),
            watches: watches.collect(),
            readiness: readiness.collect(),
            engines: engines.collect(),
        }
    }

    pub fn watch(&self, cluster: &str) -> Option<&Arc<Watch>> {
        self.watches.get(cluster)
    }

    /// Starts a refresh of every source whose last answer is no longer fresh.
    pub fn poll(&self) {
        for watch in self.watches.values().filter(|watch| watch.is_due()) {
            watch.refresh();
        }
    }

    /// Asks every source that has not answered yet, and waits for the answers, at most `limit`.
    pub async fn first_look(&self, limit: Duration) {
        let asking = join_all(self.watches.values().map(|watch| watch.current()));
        let looking = self.look_at_readiness();
        // Models of a source that does not answer by then are unknown, which refuses nobody.
        let _ = tokio::time::timeout(limit, async { tokio::join!(asking, looking) }).await;
    }

    /// Starts the health checks that are due.
    pub fn check_health(&self, now: Instant) {
        for check in self.health.iter().filter(|check| check.is_due(now)) {
            let check = Arc::clone(check);
            // A check that hangs does not delay the others, and each has a time limit.
            spawn(async move { check.look().await });
        }
    }

    /// Starts the checks that are due of leased engines.
    pub fn check_leased(&self, now: Instant) {
        for check in &self.leased {
            check.look(now);
        }
    }

    /// Asks all readiness URLs at once.
    pub async fn look_at_readiness(&self) {
        join_all(self.readiness.iter().map(Readiness::look)).await;
    }

    /// Asks the engines that have requests how much work they have.
    pub async fn look_at_engines(&self, now: Instant) {
        join_all(self.engines.iter().map(|engine| engine.look(now))).await;
    }

    /// How long to wait between two rounds of [`Clusters::look_at_readiness`]; `None`: there is nothing to ask.
    pub fn readiness_interval(&self) -> Option<Duration> {
        (!self.readiness.is_empty()).then_some(READINESS)
    }
}

impl Workshop<'_> {
    fn context(&self, cluster: &Arc<Cluster>, deployments: Vec<Arc<Deployment>>) -> ClusterContext {
        let http = cluster
            .status
            .as_ref()
            .map(|source| Http::new((self.ask)(&source.target), &source.target, cluster.patience));
        ClusterContext {
            cluster: Arc::clone(cluster),
            deployments,
            http,
            cache: Arc::clone(self.cache),
            clock: Arc::clone(self.clock),
        }
    }

    fn http_of(&self, deployment: &Deployment, limit: Duration) -> Http {
        Http::new((self.ask_backend)(deployment), &deployment.target, limit)
    }

    fn adapter(
        &self,
        cluster: &Cluster,
        deployments: &[Arc<Deployment>],
    ) -> Arc<dyn ClusterAdapter> {
        match &cluster.adapter {
            ClusterAdapterName::Static | ClusterAdapterName::Unavailable(_) => Arc::new(Static),
            ClusterAdapterName::StatusUrl => Arc::new(StatusUrl),
            ClusterAdapterName::OpenAiModels => {
                let backends = deployments.iter().map(|deployment| {
                    let http = self.http_of(deployment, cluster.patience / 2);
                    (Arc::clone(&deployment.slug), http)
                });
                Arc::new(OpenAiModels::new(backends.collect()))
            }
            ClusterAdapterName::Slurm => Arc::new(Slurm),
            ClusterAdapterName::Pbs => Arc::new(Pbs),
            ClusterAdapterName::Custom(name) => self.custom(name),
        }
    }

    fn custom(&self, name: &str) -> Arc<dyn ClusterAdapter> {
        if let Some(adapter) = self.registered.get(name) {
            return Arc::clone(adapter);
        }
        let absent = |detail: String| {
            let error = JobsError::new("The cluster's adapter failed.").with_detail(detail);
            Arc::new(Absent(error)) as Arc<dyn ClusterAdapter>
        };
        match name.strip_prefix("script:") {
            None => absent(format!("no adapter `{name}` is registered")),
            Some(path) => match self.scripts.load(path) {
                Ok(program) => Arc::new(ScriptCluster::new(program)),
                Err(error) => absent(error.to_string()),
            },
        }
    }
}

/// Stands in for an adapter that cannot be loaded.
struct Absent(JobsError);

#[async_trait]
impl ClusterAdapter for Absent {
    async fn jobs(&self, _: &ClusterContext) -> Result<Jobs, JobsError> {
        Err(self.0.clone())
    }
}
