use std::sync::Arc;

use serde_json::{Value, json};

use super::asked::Asked;
use super::page::Page;
use crate::authorize::NoticeLookup as _;
use crate::catalog::{Cluster, ClusterAdapterName, Serving};
use crate::gateway::Gateway;
use crate::live::Live;
use crate::refusal::Refusal;

/// `GET /admin/clusters`.
pub(super) fn page(gateway: &Gateway, asked: &Asked) -> Result<Value, Refusal> {
    let live = gateway.live();
    let clusters: Vec<&Arc<Cluster>> = live.catalog.clusters().iter().collect();
    let page = Page::of(
        clusters,
        asked,
        |cluster| &*cluster.name,
        |cluster| describe(cluster, &live),
    )?;
    Ok(json!(page))
}

fn describe(cluster: &Cluster, live: &Live) -> Value {
    let routed = live.catalog.of_cluster(&cluster.name);
    let serving = routed.iter().filter(|one| one.serving == Serving::Yes);
    let in_flight: u32 = routed.iter().map(|one| one.state.in_flight()).sum();
    let adapter = match &cluster.adapter {
        ClusterAdapterName::Static => "static",
        ClusterAdapterName::StatusUrl => "status_url",
        ClusterAdapterName::OpenAiModels => "openai_models",
        ClusterAdapterName::Slurm => "slurm",
        ClusterAdapterName::Pbs => "pbs",
        ClusterAdapterName::Unavailable(name) | ClusterAdapterName::Custom(name) => name,
    };
    json!({
        "name": cluster.name,
        "frameworks": cluster.frameworks,
        "openai_endpoints": cluster.openai_endpoints,
        "adapter": adapter,
        "open": cluster.access.is_open(),
        "endpoints": routed.len(),
        "endpoints_serving": serving.count(),
        "in_flight": in_flight,
        "maintenance": live.notices.notice(&cluster.name).as_deref(),
    })
}
