use serde_json::{Map, Value, json};

use crate::gateway::Gateway;

/// `GET /admin/config`: the effective value of each key, and the files that were read. Secrets are left out.
pub(super) fn configuration(gateway: &Gateway) -> Value {
    let live = gateway.live();
    let values = gateway.files().map(|files| files.values());
    let settings: Map<String, Value> = values
        .unwrap_or_default()
        .into_iter()
        .map(|value| {
            let shown = json!({"value": value.shown, "default": value.is_default});
            (value.name, shown)
        })
        .collect();
    json!({
        "generation": live.generation,
        "reload_fault": gateway.reloads().fault(),
        "files": gateway.files().map(|files| files.paths()).unwrap_or_default(),
        "settings": settings,
    })
}
