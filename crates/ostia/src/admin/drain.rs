use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::endpoints::find;
use crate::gateway::{Gateway, json_answer};
use crate::refusal::Refusal;
use crate::relay::ClientBody;

/// `POST /admin/drain`: ends the process as SIGTERM does.
pub(super) fn end(gateway: &Gateway) -> Response<ClientBody> {
    let live = gateway.live();
    let server = &live.settings.server;
    gateway.ask_to_stop();
    let body = json!({
        "status": "draining",
        "grace_seconds": server.drain_grace.as_secs_f64(),
        "limit_seconds": server.drain_timeout.as_secs_f64(),
        "requests": gateway.ledger().stats().open_receipts,
    });
    json_answer(StatusCode::ACCEPTED, &body)
}

/// `POST /admin/endpoints/{slug}/drain` and `.../undrain`.
pub fn endpoint(gateway: &Gateway, slug: &str, draining: bool) -> Result<Value, Refusal> {
    let live = gateway.live();
    let state = &find(&live, slug)?.state;
    state.set_draining(draining);
    Ok(json!({"slug": slug, "draining": draining, "in_flight": state.in_flight()}))
}
