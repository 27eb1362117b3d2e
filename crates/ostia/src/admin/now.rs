use std::collections::BTreeMap;

use http::StatusCode;
use ostia_core::Outcome;
use serde::Serialize;
use serde_json::{Value, json};

use super::asked::Asked;
use crate::gateway::Gateway;
use crate::refusal::Refusal;
use crate::telemetry::{Counted, ModelCounts, Reading};

/// The time that figures are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    #[default]
    FiveMinutes,
    Hour,
    /// Since the process started.
    Start,
}

/// Half of the requests were as fast, 95 and 99 of 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Window {
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Start];

    /// As it is asked for.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Start => "start",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.word() == text)
    }

    /// What was counted in it, and how many seconds it has, as whole minutes are added to the one that runs.
    pub fn counted(self, gateway: &Gateway) -> (Counted, u64) {
        let (figures, errors) = (gateway.figures(), gateway.errors());
        let clock = gateway.clock();
        let whole = match self {
            Self::FiveMinutes => 5,
            Self::Hour => 60,
            Self::Start => {
                let age = clock.unix_micros() / 1_000_000 - gateway.started();
                return (
                    Counted::of(figures, errors),
                    u64::try_from(age).unwrap_or(0),
                );
            }
        };
        let (counted, since) = gateway.recent().last(whole, figures, errors);
        let age = since.map(|since| clock.now().saturating_duration_since(since));
        (counted, age.unwrap_or_default().as_secs())
    }
}

impl Quantiles {
    /// Of the values' unit. `None`: there are no values.
    pub fn of(reading: &Reading) -> Option<Self> {
        Some(Self {
            p50: reading.quantile(0.5)?,
            p95: reading.quantile(0.95)?,
            p99: reading.quantile(0.99)?,
        })
    }
}

/// `GET /admin/now`.
pub(super) fn now(gateway: &Gateway, asked: &Asked) -> Result<Value, Refusal> {
    let window = match asked.query("window") {
        None => Window::default(),
        Some(text) => Window::parse(&text).ok_or_else(|| {
            let text = "`window` has to be 5m, 1h or start.";
            Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", text).with_param("window")
        })?,
    };
    let (counted, seconds) = window.counted(gateway);
    let models: BTreeMap<_, _> = counted
        .models
        .iter()
        .map(|(name, counts)| (name, report(counts)))
        .collect();
    Ok(json!({
        "window": window.word(),
        "seconds": seconds,
        "in_flight": gateway.ledger().stats().open_receipts,
        "waiting": gateway.admitter().waiting(),
        "total": report(&counted.total()),
        "models": models,
        "errors": counted.errors,
    }))
}

fn report(counts: &ModelCounts) -> Value {
    let outcomes = Outcome::ALL.iter().zip(counts.outcomes);
    let outcomes: BTreeMap<&str, u64> = outcomes
        .map(|(outcome, count)| (outcome.as_str(), count))
        .collect();
    json!({
        "requests": counts.requests(),
        "outcomes": outcomes,
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "time_to_first_token_ms": Quantiles::of(&counts.first_token),
    })
}
