use std::sync::Arc;

use crate::catalog::Deployment;
use crate::fleet::ModelState;
use crate::upstream::Http;

/// An endpoint's `config.readiness_url`: 2xx is ready, 503 is starting, everything else and silence is stopped.
pub(super) struct Readiness {
    deployment: Arc<Deployment>,
    http: Http,
    url: Box<str>,
}

impl Readiness {
    pub fn of(deployment: &Arc<Deployment>, http: Http) -> Option<Self> {
        let url = deployment.readiness_url.clone()?;
        Some(Self {
            deployment: Arc::clone(deployment),
            http,
            url,
        })
    }

    /// Asks the URL and records the answer.
    pub async fn look(&self) {
        let state = match self.http.get(&self.url).await {
            Ok(reply) if reply.status.is_success() => ModelState::Running,
            Ok(reply) if reply.status == http::StatusCode::SERVICE_UNAVAILABLE => {
                ModelState::Starting
            }
            Ok(_) => ModelState::Stopped,
            Err(error) => {
                tracing::debug!(endpoint = &*self.deployment.slug, %error, "not ready");
                ModelState::Stopped
            }
        };
        self.deployment.state.set_readiness(state);
    }
}
