use ostia_core::{Level, Measure, Scope, Standing};
use serde_json::{Value, json};

/// `GET /v1/limits`: how the caller's limits stand. `standings`: those that hold everywhere, under an empty name, then those
/// of single models.
pub fn limits(standings: &[(&str, Standing)], waiting: usize) -> Value {
    let data = standings.iter().flat_map(|(model, standing)| {
        let levels = standing.levels.iter();
        levels.map(move |level| limit(model, level))
    });
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "waiting": waiting,
    })
}

fn limit(model: &str, level: &Level) -> Value {
    let mut limit = json!({
        "scope": scope(level.scope),
        "measure": measure(level.measure),
        "limit": level.limit,
        "used": level.used,
        "owed": level.owed,
        "left": level.remaining(),
        "reset_seconds": level.reset.as_secs_f64(),
    });
    if !model.is_empty() {
        limit["model"] = model.into();
    }
    limit
}

const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::User => "user",
        Scope::UserModel => "user_model",
        Scope::UserEndpoint => "user_endpoint",
        Scope::Endpoint => "endpoint",
        Scope::Group => "group",
        Scope::Project => "project",
        Scope::Key => "key",
    }
}

const fn measure(measure: Measure) -> &'static str {
    match measure {
        Measure::Requests => "requests_per_second",
        Measure::Tokens => "tokens_per_minute",
        Measure::InFlight => "in_flight",
        Measure::Balance => "tokens",
    }
}
