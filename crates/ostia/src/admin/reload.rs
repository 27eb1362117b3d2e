use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::gateway::{Gateway, ReloadRefused};
use crate::refusal::Refusal;
use crate::runtime::spawn_blocking;

/// `POST /admin/reload`. The reload finishes even if the caller hangs up.
pub(super) async fn reload(gateway: &Arc<Gateway>, dry_run: bool) -> Result<Value, Refusal> {
    let gateway = Arc::clone(gateway);
    let outcome = spawn_blocking(move || gateway.reload(dry_run)).await;
    match outcome {
        Ok(Ok(reloaded)) => Ok(json!(reloaded)),
        Ok(Err(refused)) => Err(refusal(&refused)),
        // A panic; it was logged where it happened.
        Err(_) => Err(Refusal::client(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The files could not be read; what was served before stays. The log says why.",
        )),
    }
}

fn refusal(refused: &ReloadRefused) -> Refusal {
    let status = match refused {
        ReloadRefused::NoFiles => StatusCode::CONFLICT,
        ReloadRefused::Faults(_) | ReloadRefused::Unusable(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let message = format!("Nothing was changed: {refused}.");
    let refusal = Refusal::client(status, "reload_refused", message);
    match refused {
        ReloadRefused::Faults(faults) => Refusal {
            info: Some(json!(faults)),
            ..refusal
        },
        _ => refusal,
    }
}
