use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use ostia_core::Clock;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Health, SignInError, Web, WebAnswer, WebFault, WebRequest};
use crate::fleet::Breaker;

/// Concurrent calls to one provider: a flood of unknown callers must not take every socket.
const CONCURRENT: usize = 32;
/// How long a call waits for one of those places.
const QUEUE: Duration = Duration::from_millis(1_500);
/// How long a provider that keeps failing is not called. Short, so that the first caller after a recovery gets in.
const REST: Duration = Duration::from_millis(500);
/// For the single probing call; longer than that call and its retry can take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The way to one identity provider: a bulkhead, a breaker, one retry, JSON.
pub(super) struct Channel {
    web: Arc<dyn Web>,
    provider: &'static str,
    places: Semaphore,
    breaker: Breaker,
    failures: AtomicU64,
}

/// The answer of a working provider: a status that is not an outage, and JSON.
pub(super) struct Said {
    pub(super) status: StatusCode,
    /// `Null` if an error came without JSON.
    pub(super) json: Value,
}

impl Channel {
    pub(super) fn new(provider: &'static str, web: Arc<dyn Web>, clock: Arc<dyn Clock>) -> Self {
        Self {
            web,
            provider,
            places: Semaphore::new(CONCURRENT),
            breaker: Breaker::new(REST, PATIENCE, clock),
            failures: AtomicU64::new(0),
        }
    }

    /// Sends a query. Every failure to answer properly is an outage, never a denial: timeouts, 3xx (redirects are not
    /// followed), 429, 5xx, a 200 that is not JSON. 4xx are answers.
    pub(super) async fn ask(&self, request: WebRequest) -> Result<Said, SignInError> {
        // Callers who would wait in vain are refused at once.
        if self.breaker.is_open() {
            return Err(SignInError::IdentityUnavailable);
        }
        let place = tokio::time::timeout(QUEUE, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(SignInError::IdentityUnavailable);
        };
        if !self.breaker.admit() {
            return Err(SignInError::IdentityUnavailable);
        }
        let mut said = self.call(request.clone()).await;
        if matches!(&said, Err(fault) if fault.worth_a_retry()) {
            said = self.call(request).await;
        }
        match said {
            Ok(said) => {
                self.breaker.succeeded();
                Ok(said)
            }
            Err(fault) => {
                self.breaker.failed();
                self.log(&fault);
                Err(SignInError::IdentityUnavailable)
            }
        }
    }

    pub(super) fn health(&self) -> Health {
        Health {
            provider: self.provider,
            is_up: !self.breaker.is_open(),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    async fn call(&self, request: WebRequest) -> Result<Said, Fault> {
        let answer = self.web.call(request).await?;
        let status = answer.status;
        let lies = status.is_server_error()
            || !(status.is_success() || status.is_client_error())
            || matches!(status.as_u16(), 404 | 405 | 408 | 429);
        if lies {
            return Err(Fault::Status(status));
        }
        match parse(&answer) {
            Some(json) => Ok(Said { status, json }),
            None if status.is_client_error() => Ok(Said {
                status,
                json: Value::Null,
            }),
            None => Err(Fault::NotJson),
        }
    }

    /// An outage under load must not flood the log: it shows the first failure, the second, the fourth, ...
    fn log(&self, fault: &Fault) {
        let count = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            let provider = self.provider;
            tracing::warn!(provider, count, %fault, "the identity provider failed");
        }
    }
}

/// How a provider failed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Web(#[from] WebFault),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is not JSON")]
    NotJson,
}

impl Fault {
    /// Every call made here may be repeated, except calls that used up the time or would end the same way.
    fn worth_a_retry(&self) -> bool {
        match self {
            Self::Web(WebFault::Broken(_)) => true,
            Self::Status(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

fn parse(answer: &WebAnswer) -> Option<Value> {
    let json = answer.content_type.as_deref().is_none_or(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.to_ascii_lowercase().ends_with("json")
    });
    // The parser refuses nesting deeper than 128.
    json.then(|| serde_json::from_slice(&answer.body).ok())
        .flatten()
}
