use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::catalog::{Deployment, HealthAsk, HealthCheck};
use crate::fleet::ModelState;
use crate::upstream::{AskError, Http, Reply};

/// An endpoint counts as stopped after this many failed checks in a row; a single check may fail for any reason.
pub(super) const FAILURES: u32 = 2;
/// The prompt of a check.
const PROMPT: &str = "Answer with the one word: ready";
const LONGEST_ANSWER: u32 = 16;

/// An endpoint's `config.health`: a check that is repeated whether or not anybody uses the endpoint.
pub(super) struct Health {
    deployment: Arc<Deployment>,
    check: HealthCheck,
    http: Http,
    due: Mutex<Instant>,
    asking: AtomicBool,
    checks: AtomicU32,
    failures: AtomicU32,
}

impl Health {
    /// The first check is due at once.
    pub fn of(deployment: &Arc<Deployment>, http: Http, now: Instant) -> Option<Arc<Self>> {
        // Leased engines are checked one by one, in `leased.rs`.
        let check = deployment
            .health
            .clone()
            .filter(|_| deployment.register.is_none())?;
        Some(Arc::new(Self {
            http: http.with_key(),
            deployment: Arc::clone(deployment),
            check,
            due: Mutex::new(now),
            asking: AtomicBool::new(false),
            checks: AtomicU32::new(0),
            failures: AtomicU32::new(0),
        }))
    }

    /// Whether it is time for the next check. If so, the caller must run it.
    pub fn is_due(&self, now: Instant) -> bool {
        let mut due = self.due.lock();
        if now < *due || self.asking.swap(true, Ordering::Relaxed) {
            return false;
        }
        *due = now + self.pause();
        true
    }

    /// Runs the check and records its result.
    pub async fn look(&self) {
        let found = match &self.check.ask {
            HealthAsk::Path(path) => self.http.get(path).await,
            HealthAsk::Prompt => {
                let target = &self.deployment.target;
                let path = target.path_and_query("chat/completions");
                self.http
                    .post(&path, &prompt(&self.deployment.upstream_model))
                    .await
            }
        };
        let model = &*self.deployment.upstream_model;
        let found = found.and_then(|reply| judge(&self.check.ask, model, &reply));
        let state = &self.deployment.state;
        match found {
            Ok(seen) => {
                self.failures.store(0, Ordering::Relaxed);
                state.set_readiness(seen);
            }
            Err(error) => {
                tracing::debug!(endpoint = &*self.deployment.slug, %error, "a health check failed");
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if failures >= FAILURES {
                    state.set_readiness(ModelState::Stopped);
                }
            }
        }
        self.asking.store(false, Ordering::Relaxed);
    }

    /// The interval, varied by up to a tenth at random, so that endpoints are not all checked at once.
    fn pause(&self) -> Duration {
        let number = self.deployment.state.number();
        let nth = self.checks.fetch_add(1, Ordering::Relaxed);
        let jitter = number
            .wrapping_mul(7_919)
            .wrapping_add(nth.wrapping_mul(104_729))
            % 21;
        self.check.interval * (90 + jitter) / 100
    }
}

/// Judges the reply to a check.
pub(super) fn judge(ask: &HealthAsk, model: &str, reply: &Reply) -> Result<ModelState, AskError> {
    let fail = |why: &str| Err(AskError::Failed(why.to_owned()));
    if reply.status == http::StatusCode::SERVICE_UNAVAILABLE {
        return Ok(ModelState::Starting);
    }
    if !reply.status.is_success() {
        return fail(reply.status.as_str());
    }
    let sound = match ask {
        HealthAsk::Path(path) if path.ends_with("/models") => lists(&reply.json()?, model),
        HealthAsk::Path(_) => true,
        HealthAsk::Prompt => says_something(&reply.json()?),
    };
    match sound {
        true => Ok(ModelState::Running),
        false => fail("the answer is not what a sound backend says"),
    }
}

/// The small chat request of a check.
pub(super) fn prompt(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": LONGEST_ANSWER,
        "temperature": 0,
    })
}

/// Whether a list of models has this one. A list without any names proves nothing, so it counts as yes.
fn lists(page: &Value, model: &str) -> bool {
    let Some(models) = page["data"].as_array() else {
        return false;
    };
    let mut ids = models
        .iter()
        .filter_map(|one| one["id"].as_str())
        .peekable();
    ids.peek().is_none() || ids.any(|id| id == model)
}

/// Whether an answer contains any text.
fn says_something(answer: &Value) -> bool {
    let message = &answer["choices"][0]["message"];
    ["content", "reasoning_content", "reasoning"]
        .iter()
        .any(|name| {
            message[*name]
                .as_str()
                .is_some_and(|text| !text.trim().is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_must_have_the_model_and_an_answer_some_text() {
        let list = |ids: &[&str]| json!({"data": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()});
        assert!(lists(&list(&["a", "m"]), "m") && lists(&list(&[]), "m"));
        assert!(!lists(&list(&["a"]), "m") && !lists(&json!({"models": []}), "m"));
        let said = |message: Value| says_something(&json!({"choices": [{"message": message}]}));
        assert!(said(json!({"content": "ready"})));
        assert!(said(json!({"content": null, "reasoning_content": "hm"})));
        assert!(!said(json!({"content": " "})) && !says_something(&json!({"choices": []})));
    }
}
