use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ostia_core::{Clock, SystemClock};
use serde_json::{Value, json};

use super::state::{Call, State};
use super::{CLIENT_ID, people};

const DEPENDENT: &str = "urn:globus:auth:grant_type:dependent_token";

/// The answers of a healthy provider.
pub(super) fn answer(state: &State, call: &Call) -> (u16, Value) {
    match (&*call.method, &*call.path) {
        ("POST", "/v2/oauth2/token/introspect") => guarded(state, call, globus_introspect),
        ("POST", "/v2/oauth2/token") => guarded(state, call, globus_token),
        ("GET", "/v2/groups/my_groups") => my_groups(state, call),
        ("POST", "/introspect") => guarded(state, call, introspect),
        ("GET", "/.well-known/openid-configuration") => (200, discovery(state)),
        ("GET", "/jwks") => (200, state.minter.jwks()),
        ("GET", "/authorize" | "/v2/oauth2/authorize") => people::authorize(state, call),
        ("GET", "/userinfo") => people::userinfo(state, call),
        ("POST", "/device") => people::device(state),
        ("POST", "/token") => people::token(state, call),
        ("POST", "/revoke") => people::revoke(state, call),
        _ => (404, json!({"error": "not_found"})),
    }
}

fn guarded(
    state: &State,
    call: &Call,
    answer: impl Fn(&State, &Call) -> (u16, Value),
) -> (u16, Value) {
    let basic = STANDARD.encode(format!("{CLIENT_ID}:{}", state.secret.secret()));
    if call.authorization.as_deref() == Some(&*format!("Basic {basic}")) {
        return answer(state, call);
    }
    unauthorized()
}

fn unauthorized() -> (u16, Value) {
    let error = json!({"status": "401", "id": "0fd1a6f0-0000-4000-8000-000000000000", "code": "UNAUTHORIZED",
        "detail": "Call must be authenticated", "title": "Unauthorized"});
    (
        401,
        json!({"errors": [error], "error": "unauthorized", "error_description": "Unauthorized"}),
    )
}

fn globus_introspect(state: &State, call: &Call) -> (u16, Value) {
    let Some(token) = call.form.get("token") else {
        return (400, json!({"error": "invalid_request"}));
    };
    let include = call.form.get("include").unwrap_or_default();
    let policies = call.form.get("authentication_policies").unwrap_or_default();
    let said = state.read(|inner| {
        let user = inner.globus.get(token)?;
        Some(user.introspection(now(), CLIENT_ID, include, policies))
    });
    (200, said.unwrap_or_else(|| json!({"active": false})))
}

fn globus_token(state: &State, call: &Call) -> (u16, Value) {
    let token = call.form.get("token").unwrap_or_default();
    if call.form.get("grant_type") == Some("authorization_code") {
        return people::globus_code(state, call);
    }
    if call.form.get("grant_type") != Some(DEPENDENT) {
        return (400, json!({"error": "unsupported_grant_type"}));
    }
    let granted = state.change(|inner| {
        let user = inner.globus.get(token)?.clone();
        let access = format!("Agdependent{}", inner.dependent.len());
        inner.dependent.insert(access.clone(), user);
        Some(access)
    });
    let Some(access) = granted else {
        return unauthorized();
    };
    let scope = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships";
    let entry = json!({"scope": scope, "access_token": access, "token_type": "Bearer", "expires_in": 172_800,
        "resource_server": "groups.api.globus.org"});
    (200, json!([entry]))
}

fn my_groups(state: &State, call: &Call) -> (u16, Value) {
    let token = call
        .authorization
        .as_deref()
        .and_then(|value| value.strip_prefix("Bearer "));
    let groups = state.read(|inner| Some(inner.dependent.get(token?)?.my_groups()));
    groups.map_or_else(unauthorized, |groups| (200, groups))
}

fn introspect(state: &State, call: &Call) -> (u16, Value) {
    let token = call.form.get("token").unwrap_or_default();
    let said = state.read(|inner| inner.introspected.get(token).cloned());
    (200, said.unwrap_or_else(|| json!({"active": false})))
}

fn discovery(state: &State) -> Value {
    let base = state.read(|inner| inner.base_url.clone());
    json!({
        "issuer": base, "jwks_uri": format!("{base}/jwks"), "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"), "device_authorization_endpoint": format!("{base}/device"),
        "revocation_endpoint": format!("{base}/revoke"), "userinfo_endpoint": format!("{base}/userinfo"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    })
}

fn now() -> i64 {
    SystemClock.unix_micros() / 1_000_000
}
