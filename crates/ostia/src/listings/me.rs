use std::sync::Arc;

use ostia_core::{Identity, Project};
use serde_json::{Value, json};

/// `GET /v1/me`: who the caller is, and what he or she may use.
pub fn me(identity: &Identity, projects: &[Arc<Project>], keys: &[Value], limits: &Value) -> Value {
    let is_manager = |project: &Project| project.is_manager(&identity.user_id, &identity.username);
    let projects = projects.iter().map(|project| {
        json!({"name": &*project.name, "title": project.title, "manager": is_manager(project)})
    });
    json!({
        "id": &*identity.user_id,
        "username": &*identity.username,
        "name": &*identity.name,
        "email": &*identity.email,
        "domain": identity.domain.as_deref(),
        "auth_service": &*identity.auth_service,
        "idp": {"id": &*identity.idp_id, "name": &*identity.idp_name},
        "groups": identity.groups,
        "groups_unlisted": identity.groups_unlisted,
        "roles": identity.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        "project": &*identity.project,
        "projects": projects.collect::<Vec<_>>(),
        "models": identity.models,
        "key_id": identity.key_id.as_deref(),
        "keys": keys,
        "limits": limits,
    })
}
