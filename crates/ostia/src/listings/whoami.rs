use ostia_core::Identity;
use serde_json::{Value, json};

/// `GET /whoami`: every value is a string, never null.
pub fn whoami(identity: &Identity) -> Value {
    json!({
        "id": identity.user_id,
        "name": identity.name,
        "username": identity.username,
        "user_group_uuids": identity.groups,
        "idp_id": identity.idp_id,
        "idp_name": identity.idp_name,
        "auth_service": identity.auth_service,
    })
}
