//! A cluster adapter that is a script with a function `jobs(ctx)`.

use std::any::TypeId;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use http::StatusCode;
use rhai::serde::{from_dynamic, to_dynamic};
use rhai::{Array, Dynamic, Engine, EvalAltResult};

use super::{ClusterAdapter, ClusterContext, Jobs, JobsError};
use crate::backend::{in_time, reply_to_dynamic};
use crate::script::{Program, ScriptError, Thrown, logged, on_pool};
use crate::upstream::Http;

pub(super) struct ScriptCluster {
    program: Arc<Program>,
}

/// `ctx` in a script.
#[derive(Clone)]
struct Scene(Arc<Facts>);

struct Facts {
    cluster: Arc<crate::catalog::Cluster>,
    models: Vec<Arc<str>>,
    http: Option<Http>,
    cache: Arc<crate::cache::Cache>,
    runtime: tokio::runtime::Handle,
}

type Outcome<T> = Result<T, Box<EvalAltResult>>;

impl ScriptCluster {
    pub fn new(program: Arc<Program>) -> Self {
        Self { program }
    }
}

#[async_trait]
impl ClusterAdapter for ScriptCluster {
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        let limit = context.cluster.patience;
        let scene = Scene(Arc::new(Facts {
            cluster: Arc::clone(&context.cluster),
            models: context
                .deployments
                .iter()
                .map(|deployment| Arc::clone(&deployment.model))
                .collect(),
            http: context.http.clone().map(|http| http.within(limit)),
            cache: Arc::clone(&context.cache),
            runtime: tokio::runtime::Handle::current(),
        }));
        let program = Arc::clone(&self.program);
        let ran = on_pool(&context.clock, limit, move || {
            program
                .call(engine(), "jobs", (scene,))
                .map(|value| from_dynamic::<serde_json::Value>(&value))
        });
        match ran.await {
            Some(Ok(Ok(value))) => Jobs::from_value(&value),
            Some(Ok(Err(error))) => Err(failed(&error.to_string())),
            Some(Err(Thrown::Refusal {
                status,
                message,
                code,
            })) => Err(JobsError::new(message)
                .with_status(
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                )
                .with_code(code)),
            Some(Err(Thrown::Fault(error))) => Err(failed(&error.to_string())),
            None => Err(failed("the script got no thread, or panicked")),
        }
    }
}

/// The definite mistakes in a cluster script.
pub(crate) fn faults(program: &Program) -> Vec<ScriptError> {
    program.faults(engine(), &[("jobs", Some(TypeId::of::<Scene>()))])
}

fn failed(detail: &str) -> JobsError {
    JobsError::new("The cluster's adapter failed.").with_detail(detail)
}

impl Scene {
    fn http(&self) -> Outcome<&Http> {
        let http = self.0.http.as_ref();
        http.ok_or_else(|| "the cluster's config has no status_url: HTTP is not there".into())
    }

    fn http_get(&mut self, url: &str) -> Outcome<Dynamic> {
        reply_to_dynamic(self.0.runtime.block_on(in_time(self.http()?).get(url)))
    }

    fn status_page(&mut self) -> Outcome<Dynamic> {
        let source = self.0.cluster.status.as_ref();
        let path = source
            .map_or("/", |source| &source.path_and_query)
            .to_owned();
        self.http_get(&path)
    }

    fn cache_get(&mut self, key: &str) -> Outcome<Dynamic> {
        match self.0.cache.get(key) {
            Some(value) => to_dynamic(value),
            None => Ok(Dynamic::UNIT),
        }
    }

    fn cache_set(&mut self, key: &str, value: Dynamic, seconds: i64) -> Outcome<()> {
        let value = from_dynamic(&value)?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        let keep = std::time::Duration::from_secs(seconds);
        self.0.cache.set(key, value, keep);
        Ok(())
    }
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut engine = crate::script::engine();
        engine
            .register_type_with_name::<Scene>("ClusterContext")
            .register_get("cluster", |scene: &mut Scene| {
                rhai::ImmutableString::from(&*scene.0.cluster.name)
            })
            .register_get("config", |scene: &mut Scene| {
                to_dynamic(&scene.0.cluster.config)
            })
            .register_get("models", |scene: &mut Scene| -> Array {
                let names = scene.0.models.iter();
                names.map(|name| Dynamic::from(name.to_string())).collect()
            })
            .register_fn("http_get", Scene::http_get)
            .register_fn("status_page", Scene::status_page)
            .register_fn("cache_get", Scene::cache_get)
            .register_fn("cache_set", Scene::cache_set)
            .register_fn("log", |scene: &mut Scene, text: &str| {
                tracing::info!(cluster = &*scene.0.cluster.name, "{}", logged(text));
            });
        engine
    })
}
