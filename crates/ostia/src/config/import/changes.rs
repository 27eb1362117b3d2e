//! What users of an endpoint will notice after the move from FIRST.

use std::sync::Arc;

use super::super::load::Loaded;
use crate::catalog::{Deployment, Serving};

/// An endpoint's slug, and what changes for its users; empty if nothing changes beyond the changes for all endpoints.
pub type Changes = Vec<(Arc<str>, Vec<String>)>;

pub fn changes(loaded: &Loaded) -> Changes {
    let deployments = loaded.catalog.deployments().iter();
    deployments
        .map(|deployment| (Arc::clone(&deployment.slug), of(deployment)))
        .collect()
}

fn of(deployment: &Deployment) -> Vec<String> {
    match &deployment.serving {
        Serving::AdapterUnavailable(adapter) => {
            let class = adapter.rsplit('.').next().unwrap_or(adapter);
            return vec![format!(
                "{class} is not served yet: 503 adapter_unavailable. Keep FIRST for it"
            )];
        }
        Serving::Disabled(_) => {
            return vec!["503 endpoint_disabled, until its mistake above is mended".to_owned()];
        }
        Serving::Yes => {}
    }
    if !deployment.framework_listed() {
        return vec![
            "no route leads to it, as its cluster does not list its framework; 400 as before"
                .to_owned(),
        ];
    }
    let mut changes = Vec::new();
    let mut change = |holds: bool, text: &str| {
        if holds {
            changes.push(text.to_owned());
        }
    };
    let config = &deployment.config;
    change(
        ["responses", "messages"]
            .iter()
            .any(|api| deployment.cluster.serves_api(api)),
        "responses and messages may be streamed",
    );
    change(
        deployment.require_listed,
        "while the model does not run: 503 model_not_running; it was 503 internal_endpoint_error",
    );
    change(
        deployment.isolation.reserves_fields,
        "the engine's cache starts cold, as salts and affinity keys are made in another way",
    );
    change(
        !deployment.target.replicas.is_empty(),
        "a pilot that cannot be reached is passed over",
    );
    change(
        config.get("api_request_timeout").is_none() && !config.is_null(),
        "a silence may last 10 minutes; FIRST gave up after 2 (`api_request_timeout`)",
    );
    change(
        config.get("ca_cert_path").is_some() && config.get("min_tls").is_none(),
        "TLS 1.2 is accepted too (`min_tls`)",
    );
    changes
}
