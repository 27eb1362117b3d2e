use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::lenient::{Container, NotAnEntry, Shape, read as read_listing};
use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};
use crate::catalog::{Deployment, Serving};
use crate::fleet::ModelState;
use crate::upstream::{AskError, Http};

/// Asks every backend of the cluster for `/v1/models` and `/health`. A backend that cannot be connected to is stopped; one
/// that takes too long is unknown, because it may only be busy. Neither makes the others unknown.
pub(super) struct OpenAiModels {
    /// By the deployment's slug.
    backends: HashMap<Arc<str>, Http>,
}

/// How many backends are asked at once.
const AT_ONCE: usize = 64;

impl OpenAiModels {
    pub fn new(backends: HashMap<Arc<str>, Http>) -> Self {
        Self { backends }
    }
}

#[async_trait]
impl ClusterAdapter for OpenAiModels {
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        // Owned by the stream, because nothing may borrow from the context across its awaits.
        let asked: Vec<(Arc<Deployment>, Option<Http>)> = context
            .deployments
            .iter()
            .map(|deployment| {
                let http = self.backends.get(&deployment.slug).cloned();
                (Arc::clone(deployment), http)
            })
            .collect();
        // Backends that have not been asked by then are unknown.
        let give_up = tokio::time::Instant::now() + context.cluster.patience;
        let states: Vec<_> = stream::iter(asked)
            .map(|(deployment, http)| async move {
                let state = match http {
                    Some(http) if deployment.serving == Serving::Yes => {
                        let asking = state_of(&deployment, &http);
                        let state = tokio::time::timeout_at(give_up, asking).await;
                        state.unwrap_or(ModelState::Unknown)
                    }
                    _ => ModelState::Stopped,
                };
                (deployment, state)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        Ok(sort(states))
    }
}

fn sort(states: Vec<(Arc<Deployment>, ModelState)>) -> Jobs {
    let mut jobs = Jobs::default();
    for (deployment, state) in states {
        let job = Job {
            framework: Some(deployment.framework.to_string()),
            starting: state == ModelState::Starting,
            ..Job::of([&*deployment.model])
        };
        let job = job.with("Model Status", state.as_str());
        match state {
            ModelState::Running => jobs.running.push(job),
            ModelState::Starting | ModelState::Queued => jobs.queued.push(job),
            ModelState::Stopped | ModelState::Draining => jobs.stopped.push(job),
            ModelState::Unknown => jobs.others.push(job),
        }
    }
    jobs
}

/// vLLM, SGLang and llama.cpp answer `/health` with 503 while a model loads. A backend
/// without `/health` is judged by its list.
async fn state_of(deployment: &Deployment, http: &Http) -> ModelState {
    let base = &deployment.target.base_path;
    let root = base.strip_suffix("/v1").unwrap_or(base);
    match http.get(&format!("{root}/health")).await {
        Err(AskError::Timeout) => return ModelState::Unknown,
        Err(_) => return ModelState::Stopped,
        Ok(health) if health.status == http::StatusCode::SERVICE_UNAVAILABLE => {
            return ModelState::Starting;
        }
        Ok(_) => {}
    }
    let asking = http.clone().with_key();
    let models = match asking.get(&format!("{base}/models")).await {
        Ok(models) => models,
        Err(AskError::Timeout) => return ModelState::Unknown,
        Err(_) => return ModelState::Stopped,
    };
    if !models.status.is_success() {
        return ModelState::Unknown;
    }
    match names(&models.body, deployment) {
        Some(true) => ModelState::Running,
        Some(false) => ModelState::Stopped,
        None => ModelState::Unknown,
    }
}

/// Whether an OpenAI list holds the deployment's model. `None`: it is not such a list, or its end is missing.
fn names(list: &[u8], deployment: &Deployment) -> Option<bool> {
    const LIST: Shape = Shape {
        root: Some("data"),
        aside: &[],
    };
    let listing = read_listing(list, &LIST, |_, model| {
        let id = model.get("id").and_then(Value::as_str).ok_or(NotAnEntry)?;
        Ok((id == &*deployment.upstream_model || id == &*deployment.model).then_some(()))
    })?;
    match listing.entries.is_empty() {
        false => Some(true),
        true => (!listing.lost && listing.root == Some(Container::List)).then_some(false),
    }
}
