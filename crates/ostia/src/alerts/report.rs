use serde_json::{Value, json};

use super::Change;
use super::change::stamp;
use crate::gateway::Gateway;

/// A report on the state of everything: for a webhook, on a schedule.
pub(super) fn report(gateway: &Gateway, firing: &[Change], now: i64) -> Value {
    let live = gateway.live();
    let endpoints = live.catalog.deployments().iter().map(|one| {
        let state = &one.state;
        let outcomes: serde_json::Map<String, Value> = state
            .outcomes()
            .map(|(outcome, count)| (outcome.as_str().to_owned(), count.into()))
            .collect();
        let (prompt, completion) = state.tokens();
        json!({
            "endpoint": one.slug, "cluster": one.cluster.name, "model": one.model,
            "in_flight": state.in_flight(), "failing": state.is_suspect(),
            "requests": outcomes, "prompt_tokens": prompt, "completion_tokens": completion,
        })
    });
    json!({
        "status": "report",
        "at": stamp(now),
        "generation": live.generation,
        "waiting": gateway.admitter().waiting(),
        "firing": firing.iter().map(Change::as_json).collect::<Vec<_>>(),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}
