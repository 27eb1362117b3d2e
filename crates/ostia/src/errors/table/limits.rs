//! Shortages: models that do not run, endpoints that are busy, limits that are reached.

use std::time::Duration;

use http::StatusCode;
use ostia_core::{Blocked, Level, Measure, Scope};
use serde_json::json;

use super::super::{limit_headers, queue_header};
use super::{A_MINUTE_AT_MOST, NOT_RUNNING, SHORTLY, limit_detail, seconds};
use crate::admit::{Refused, Shortage, whose};
use crate::fleet::ModelState;
use crate::rank::{NoCandidate, NotServing};
use crate::refusal::{LONGEST_WAIT, Refusal};

impl From<NoCandidate> for Refusal {
    fn from(reason: NoCandidate) -> Self {
        match reason {
            NoCandidate::NotServing(reason) => reason.into(),
            NoCandidate::NotTaken(reason) => {
                Self::client(StatusCode::BAD_REQUEST, "invalid_value", reason.to_string())
                    .with_param(reason.param())
            }
        }
    }
}

impl From<NotServing> for Refusal {
    fn from(reason: NotServing) -> Self {
        let (code, message) = match reason {
            NotServing::NotRunning {
                model,
                state,
                unlisted,
                starts_in,
            } => return not_running(&model, state, unlisted, starts_in),
            NotServing::NoneReady => {
                let text = "No server of this model accepts requests right now.";
                return Self::gateway(StatusCode::SERVICE_UNAVAILABLE, "no_healthy_backend", text)
                    .with_retry_after(SHORTLY);
            }
            NotServing::Disabled => (
                "endpoint_disabled",
                "The model's endpoint is disabled; the gateway's operators can tell why.",
            ),
            NotServing::AdapterUnavailable => (
                "adapter_unavailable",
                "The model's endpoint uses an adapter that this gateway does not serve yet.",
            ),
        };
        Self::gateway(StatusCode::SERVICE_UNAVAILABLE, code, message).permanent()
    }
}

fn not_running(
    model: &str,
    state: ModelState,
    unlisted: bool,
    starts_in: Option<Duration>,
) -> Refusal {
    let mut message = if unlisted {
        format!("The model '{model}' is not currently running: its cluster does not list it.")
    } else {
        let state = state.as_str();
        format!("The model '{model}' is not currently running: its state is '{state}'.")
    };
    if let Some(wait) = starts_in {
        let minutes = wait.as_secs().div_ceil(60).max(1);
        message.push_str(&format!(" It is expected to start in about {minutes} min."));
    }
    let wait = starts_in.unwrap_or(NOT_RUNNING);
    let refusal = Refusal::gateway(
        StatusCode::SERVICE_UNAVAILABLE,
        "model_not_running",
        message,
    )
    .waiting(wait);
    // Nobody is starting it: an SDK that waits and tries again only keeps its user waiting.
    let stays = starts_in.is_none() && (unlisted || state == ModelState::Stopped);
    if stays { refusal.permanent() } else { refusal }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let queued = queue_header(refused.waited);
        let mut refusal = match refused.shortage {
            Shortage::NotServing(fault) => fault.into(),
            Shortage::Blocked(Blocked::Model) => Self::gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "endpoint_disabled",
                "The operators of this gateway have stopped this model. Please ask them.",
            )
            .permanent(),
            Shortage::Blocked(_) => Self::client(
                StatusCode::FORBIDDEN,
                "account_disabled",
                "The operators of this gateway have blocked this account. Please ask them.",
            ),
            Shortage::EndpointsFull => {
                let busy = "Every server of this model is busy.";
                let message = format!("{busy} {}", when(refused.retry_after));
                let busy = Self::gateway(StatusCode::SERVICE_UNAVAILABLE, "queue_full", message);
                busy.waiting(refused.retry_after)
            }
            Shortage::Limit { scope, measure } => Self::limited(&refused, scope, measure),
        };
        refusal.headers.extend(queued);
        refusal
    }
}

impl Refusal {
    /// A limit of the caller or of the model is exhausted.
    fn limited(refused: &Refused, scope: Scope, measure: Measure) -> Self {
        let level = refused.standing.level(scope, measure);
        let (code, message) = limited(scope, measure, level, refused.retry_after);
        let mut refusal = Self::client(StatusCode::TOO_MANY_REQUESTS, code, message)
            .with_detail(limit_detail(scope, measure, level, refused.retry_after));
        refusal = match measure {
            Measure::Balance => refusal.permanent(),
            _ => refusal.waiting(refused.retry_after),
        };
        if measure == Measure::Tokens {
            let used = |scope| refused.standing.used(scope, Measure::Tokens);
            refusal.info = Some(json!({
                "global_model_usage": used(Scope::Endpoint),
                "user_model_usage": used(Scope::UserEndpoint),
            }));
        }
        refusal.headers.extend(limit_headers(&refused.standing));
        refusal
    }
}

impl Refusal {
    /// Says when to come again, where that is soon enough for a client to wait; else the message says how long it takes.
    pub(super) fn waiting(self, wait: Duration) -> Self {
        match wait <= A_MINUTE_AT_MOST {
            true => self.with_retry_after(wait.min(LONGEST_WAIT)),
            false => self,
        }
    }
}

fn when(wait: Duration) -> String {
    match seconds(wait).max(1) {
        1 => "Try again in a second.".to_owned(),
        seconds => format!("Try again in {seconds} seconds."),
    }
}

/// The code and the message for an exhausted limit: which one, its number, what is used, when it is free.
fn limited(
    scope: Scope,
    measure: Measure,
    level: Option<&Level>,
    wait: Duration,
) -> (&'static str, String) {
    let whose = whose(scope);
    let (code, what) = match measure {
        Measure::Requests => ("requests", "requests a second"),
        Measure::InFlight => ("concurrency", "requests at a time"),
        Measure::Tokens => ("tokens", "tokens a minute"),
        Measure::Balance => ("budget_exceeded", "tokens in all"),
    };
    let Some(level) = level else {
        return (
            code,
            format!("The limit of {what} for {whose} is reached. {}", when(wait)),
        );
    };
    let (limit, used) = (level.limit, level.used);
    let owed = match level.owed {
        0 => String::new(),
        owed => format!(", {owed} more are owed"),
    };
    let then = match measure {
        Measure::Balance => "Nothing comes back with time.".to_owned(),
        _ => when(wait),
    };
    let message = format!("The limit is {limit} {what} for {whose}: {used} are used{owed}. {then}");
    (code, message)
}
