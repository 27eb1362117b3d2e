//! How people, keys and projects look in JSON, to scripts and pages alike.

use ostia_core::{ApiKey, Login, Person, Project};
use serde_json::{Value, json};

use super::rfc3339;

pub fn key_state(key: &ApiKey, now: i64) -> &'static str {
    let past = |moment: Option<i64>| moment.is_some_and(|moment| moment <= now);
    match (key.revoked_at.is_some(), past(key.expires_at)) {
        (true, _) => "revoked",
        (_, true) => "expired",
        _ => "active",
    }
}

pub fn key_json(key: &ApiKey, now: i64) -> Value {
    let groups: Vec<&str> = key.groups.iter().map(AsRef::as_ref).collect();
    let rights = &*key.rights;
    json!({
        "id": &*key.id,
        "state": key_state(key, now),
        "user": &*key.username,
        "groups": groups,
        "label": &*key.label,
        "project": &*key.project,
        "admin": rights.is_admin(),
        "role": rights.role.map(|role| role.as_str()),
        "models": rights.models,
        "allowed_addresses": rights.addresses,
        "class": if rights.batch { "batch" } else { "interactive" },
        "limits": rights.limits,
        "on_behalf_of": rights.on_behalf_of,
        "service": rights.service,
        "created_at": rfc3339(key.created_at),
        "expires_at": key.expires_at.map(rfc3339),
        "revoked_at": key.revoked_at.map(rfc3339),
        "last_used_at": key.last_used_at.map(rfc3339),
    })
}

pub fn person_json(person: &Person) -> Value {
    let seen = (person.last_seen > 0).then(|| rfc3339(person.last_seen));
    json!({
        "id": &*person.id,
        "username": person.username,
        "name": person.name,
        "email": person.email,
        "idp": person.idp,
        "state": person.state.word(),
        "last_seen": seen,
        "confirmed_at": person.confirmed_at().filter(|at| *at > 0).map(rfc3339),
        "identities": person.logins.iter().map(login_json).collect::<Vec<_>>(),
    })
}

pub fn login_json(login: &Login) -> Value {
    json!({
        "id": login.id,
        "auth_service": login.auth_service,
        "idp": login.idp,
        "username": login.username,
        "name": login.name,
        "email": login.email,
        "domain_believed": !login.own_name().is_empty(),
        "own_name": login.own_name(),
        "groups": login.groups,
        "confirmed_at": (login.confirmed_at > 0).then(|| rfc3339(login.confirmed_at)),
    })
}

pub fn project_json(project: &Project) -> Value {
    json!({
        "id": &*project.id,
        "name": &*project.name,
        "title": project.title,
        "field": project.field,
        "institution": project.institution,
        "cost_centre": project.cost_centre,
        "external_id": project.external_id,
        "managers": project.managers,
        "members": project.members,
        "groups": project.groups,
        "models": project.models,
        "fair_share": project.fair_share,
        "state": if project.is_open() { "open" } else { "ended" },
        "created_at": rfc3339(project.created_at),
        "ended_at": project.ended_at.map(rfc3339),
    })
}
