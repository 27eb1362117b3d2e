use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use ostia_core::Clock;
use serde_json::Value;

use super::Jobs;
use super::mapping::Mapping;
use crate::cache::Cache;
use crate::catalog::{Cluster, Deployment};
use crate::runtime::spawn_blocking;
use crate::upstream::{AskError, Http};

/// What a cluster adapter works with. It does not know who asks: all callers share what it returns.
pub struct ClusterContext {
    pub cluster: Arc<Cluster>,
    /// The cluster's endpoints that have a route.
    pub deployments: Vec<Arc<Deployment>>,
    /// HTTP to the host of `config.status_url` and to `config.allowed_hosts`, with the cluster's TLS, proxy and
    /// `api_request_timeout`; `None` where the entry names no URL.
    pub http: Option<Http>,
    pub cache: Arc<Cache>,
    pub clock: Arc<dyn Clock>,
}

/// Why a cluster's jobs are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JobsError {
    pub status: StatusCode,
    /// Callers see it, without its URLs.
    pub message: String,
    pub code: String,
    /// For the log only.
    pub detail: String,
}

/// Reports which models of a cluster run, wait or are stopped.
#[async_trait]
pub trait ClusterAdapter: Send + Sync + 'static {
    /// The jobs of the whole cluster. There is one call at a time, and at most one a minute.
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        let _ = context;
        Ok(Jobs::default())
    }
}

impl ClusterContext {
    /// The `config` of the cluster's entry, whole.
    pub fn config(&self) -> &Value {
        &self.cluster.config
    }

    /// GETs `config.status_url`.
    pub async fn status_page(&self) -> Result<crate::upstream::Reply, JobsError> {
        let source = self.cluster.status.as_ref().zip(self.http.as_ref());
        let Some((source, http)) = source else {
            let text = "The cluster's entry names no usable status page.";
            return Err(JobsError::new(text));
        };
        Ok(http.get(&source.path_and_query).await?)
    }

    /// Parses a listing on a thread where it delays no request: the queue of a big machine takes a while.
    pub(super) async fn read(
        &self,
        read: impl FnOnce(&Mapping<'_>) -> Result<Jobs, JobsError> + Send + 'static,
    ) -> Result<Jobs, JobsError> {
        let cluster = Arc::clone(&self.cluster);
        let deployments = self.deployments.clone();
        let reading = spawn_blocking(move || read(&Mapping::new(&cluster.scheduler, &deployments)));
        reading.await.unwrap_or_else(|_| {
            Err(JobsError::new("The cluster's adapter failed.").with_detail("it panicked"))
        })
    }

    /// Writes a line to the gateway's log, with the cluster's name.
    pub fn log(&self, text: &str) {
        tracing::info!(cluster = &*self.cluster.name, "{text}");
    }
}

impl JobsError {
    pub const CODE: &'static str = "failed_to_get_cluster_jobs";

    /// 500 with the usual code.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.into(),
            code: Self::CODE.to_owned(),
            detail: String::new(),
        }
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            ..self
        }
    }

    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    pub(super) fn timeout() -> Self {
        Self::new("The cluster's state did not come in time.")
            .with_status(StatusCode::GATEWAY_TIMEOUT)
    }

    /// Removes every word that contains a URL or the host of the cluster's source.
    pub(super) fn scrubbed(mut self, host: Option<&str>) -> Self {
        self.message = scrub(&self.message, host);
        self
    }
}

pub(super) fn scrub(text: &str, host: Option<&str>) -> String {
    let private = |word: &str| {
        word.contains("://") || host.is_some_and(|host| host.len() > 1 && word.contains(host))
    };
    if !text.split_whitespace().any(private) {
        return text.to_owned();
    }
    let words = text.split_whitespace();
    let words: Vec<_> = words
        .map(|word| if private(word) { "[...]" } else { word })
        .collect();
    words.join(" ")
}

impl From<AskError> for JobsError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Timeout => Self::timeout(),
            other => Self::new("The cluster's state could not be asked for.")
                .with_detail(other.to_string()),
        }
    }
}
