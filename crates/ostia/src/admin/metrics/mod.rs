mod endpoints;
mod family;
mod gateway;
mod requests;
mod scrape;

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use self::family::PREFIX;
pub use self::family::{Family, FamilyKind};
use self::scrape::Scrape;
use super::process::Process;
use crate::gateway::Gateway;
use crate::listen::Connections;

/// Every metric, in the order of the scrape. The page docs/reference/metrics.md is made of it.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let groups = [requests::REQUESTS, endpoints::ENDPOINTS, gateway::GATEWAY];
    groups.into_iter().flatten()
}

/// All metrics as OpenMetrics text. Made anew for each scrape from the counters that the rooms keep; labels are
/// endpoint slugs and outcomes, never users.
pub fn metrics_text(gateway: &Arc<Gateway>, public: &Arc<Connections>) -> String {
    let mut registry = Registry::default();
    let scrape = Scrape {
        gateway: Arc::clone(gateway),
        public: Arc::clone(public),
    };
    let own = registry.sub_registry_with_prefix(PREFIX);
    own.register_collector(Box::new(scrape));
    let started = gateway.started();
    registry.register_collector(Box::new(Process { started }));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => text,
        Err(fmt::Error) => String::new(),
    }
}
