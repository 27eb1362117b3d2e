use http::StatusCode;
use serde_json::{Value, json};

use crate::gateway::{Gateway, UpgradeError};
use crate::refusal::Refusal;

/// `POST /admin/upgrade`: answers when the new process is ready, or has failed to start.
pub(super) async fn upgrade(gateway: &Gateway) -> Result<Value, Refusal> {
    match gateway.upgrade().await {
        Ok(pid) => Ok(json!({"status": "taken over", "pid": pid})),
        Err(error) => {
            let status = match error {
                UpgradeError::NotPossible => StatusCode::CONFLICT,
                UpgradeError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let message = format!("Nothing was changed: {error}.");
            Err(Refusal::client(status, "upgrade_failed", message))
        }
    }
}
