use ostia_core::{Level, Measure, Standing};
use serde_json::{Value, json};

/// `GET /v1/limits`, `GET /admin/limits`: the state of limits. `standings`: first, under an empty name, those that
/// apply to all models, then those of single models or endpoints, labelled by `named`.
pub fn limits(standings: &[(&str, Standing)], named: &str, waiting: usize) -> Value {
    let data = standings.iter().flat_map(|(name, standing)| {
        let levels = standing.levels.iter();
        levels.map(move |level| limit(named, name, level))
    });
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "waiting": waiting,
    })
}

fn limit(named: &str, name: &str, level: &Level) -> Value {
    let mut limit = json!({
        "scope": level.scope.as_str(),
        "measure": measure_word(level.measure),
        "limit": level.limit,
        "used": level.used,
        "owed": level.owed,
        "left": level.remaining(),
        "reset_seconds": level.reset.as_secs_f64(),
    });
    if !name.is_empty() {
        limit[named] = name.into();
    }
    limit
}

pub const fn measure_word(measure: Measure) -> &'static str {
    match measure {
        Measure::Requests => "requests_per_second",
        Measure::Tokens => "tokens_per_minute",
        Measure::InFlight => "in_flight",
        Measure::Balance => "tokens",
    }
}
