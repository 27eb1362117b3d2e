use serde_json::{Value, json};

use super::ready::readiness;
use crate::gateway::Gateway;
use crate::listen::Connections;

/// `GET /admin/status`: the state of the process.
pub(super) async fn status(gateway: &Gateway, public: &Connections) -> Value {
    let stats = gateway.ledger().stats();
    let live = gateway.live();
    let deployments = live.catalog.deployments();
    let now = gateway.clock().unix_micros() / 1_000_000;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "started_at": gateway.started(),
        "uptime_seconds": now.saturating_sub(gateway.started()).max(0),
        "ready": readiness(gateway).await.report(),
        "connections": public.open(),
        "requests": stats.open_receipts,
        "waiting": gateway.admitter().waiting(),
        "endpoints": deployments.len(),
        "journal_pending_bytes": stats.pending_bytes,
        "request_body_bytes": gateway.body_budget().used(),
    })
}
