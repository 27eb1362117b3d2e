use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use ostia_core::{Clock, SystemClock};

use super::Signing;
use super::form::Form;
use super::state::{Call, State};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The codes and tokens issued to people who sign in.
#[derive(Default)]
pub(super) struct Logins {
    /// Codes that were not redeemed.
    codes: BTreeMap<String, Made>,
    /// What the ID token says of whoever signs in; `None`: there is none.
    pub(super) who: Option<Value>,
    /// What `/userinfo` says.
    pub(super) userinfo: Value,
    /// The token that Globus gives for the service.
    pub(super) globus_token: String,
    /// Refresh tokens; each works once.
    refresh: Vec<String>,
    pub(super) approved: bool,
    made: usize,
}

/// What a code was made for.
#[derive(Clone)]
pub(super) struct Made {
    challenge: String,
    redirect: String,
    client: String,
    nonce: String,
}

/// The page where people agree: they do so at once. Where a browser is sent is in the answer too, as `location`.
pub(super) fn authorize(state: &State, call: &Call) -> (u16, Value) {
    let query = Form::parse(call.query.as_deref().unwrap_or_default());
    let field = |name: &str| query.get(name).unwrap_or_default().to_owned();
    if field("code_challenge_method") != "S256" || field("response_type") != "code" {
        return (400, json!({"error": "invalid_request"}));
    }
    let (redirect, word) = (field("redirect_uri"), field("state"));
    let code = state.change(|inner| {
        inner.logins.made += 1;
        let code = format!("code-{}", inner.logins.made);
        let kept = Made {
            challenge: field("code_challenge"),
            redirect: redirect.clone(),
            client: field("client_id"),
            nonce: field("nonce"),
        };
        inner.logins.codes.insert(code.clone(), kept);
        code
    });
    let accept = call.headers.get("accept");
    let is_browser = accept.is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/html"));
    let status = if is_browser { 302 } else { 200 };
    (
        status,
        json!({"location": format!("{redirect}?code={code}&state={word}")}),
    )
}

/// What Globus gives for a code: a token for itself, and beside it those for other services.
pub(super) fn globus_code(state: &State, call: &Call) -> (u16, Value) {
    match state.change(|inner| redeem(&mut inner.logins, call)) {
        Ok(_) => {
            let ours = state.read(|inner| inner.logins.globus_token.clone());
            let others = json!([{"resource_server": super::CLIENT_ID, "access_token": ours, "token_type": "Bearer"}]);
            let said = json!({"access_token": "Agopenid", "resource_server": "auth.globus.org", "token_type": "Bearer",
                "expires_in": 172_800, "other_tokens": others});
            (200, said)
        }
        Err(error) => (401, json!({ "error": error })),
    }
}

/// Claims that stand in no token.
pub(super) fn userinfo(state: &State, call: &Call) -> (u16, Value) {
    let bearer = call.authorization.as_deref().unwrap_or_default();
    match bearer.starts_with("Bearer access-") {
        true => (200, state.read(|inner| inner.logins.userinfo.clone())),
        false => (401, json!({"error": "invalid_token"})),
    }
}

pub(super) fn device(state: &State) -> (u16, Value) {
    let base = state.read(|inner| inner.base_url.clone());
    let said = json!({"device_code": "device", "user_code": "ABCD-EFGH", "verification_uri": format!("{base}/pair"),
        "expires_in": 60, "interval": 1});
    (200, said)
}

pub(super) fn token(state: &State, call: &Call) -> (u16, Value) {
    let field = |name: &str| call.form.get(name).unwrap_or_default();
    let granted = state.change(|inner| match field("grant_type") {
        "authorization_code" => redeem(&mut inner.logins, call).map(Some),
        "refresh_token" => {
            let held = inner
                .logins
                .refresh
                .iter()
                .position(|one| one == field("refresh_token"));
            held.map(|at| drop(inner.logins.refresh.remove(at)))
                .map(|()| None)
                .ok_or("invalid_grant")
        }
        DEVICE_GRANT if inner.logins.approved => Ok(None),
        DEVICE_GRANT => Err("authorization_pending"),
        _ => Err("unsupported_grant_type"),
    });
    match granted {
        Ok(made) => {
            let mut said = state.change(|inner| tokens(&mut inner.logins));
            if let Some(id_token) = made.and_then(|made| id_token(state, &made)) {
                said["id_token"] = id_token.into();
            }
            (200, said)
        }
        Err(error) => (400, json!({ "error": error })),
    }
}

/// Every refresh token ends.
pub(super) fn revoke(state: &State, _: &Call) -> (u16, Value) {
    state.change(|inner| inner.logins.refresh.clear());
    (200, json!({}))
}

/// RFC 7636 section 4.6: the code belongs to whoever knows what its challenge was made of.
fn redeem(logins: &mut Logins, call: &Call) -> Result<Made, &'static str> {
    let field = |name: &str| call.form.get(name).unwrap_or_default();
    let kept = logins.codes.remove(field("code")).ok_or("invalid_grant")?;
    let proof = digest(&SHA256, field("code_verifier").as_bytes());
    let is_his =
        kept.challenge == URL_SAFE_NO_PAD.encode(proof) && kept.redirect == field("redirect_uri");
    is_his.then_some(kept).ok_or("invalid_grant")
}

/// OpenID Connect Core section 2, with whatever else a test wants it to say.
fn id_token(state: &State, made: &Made) -> Option<String> {
    let (base, who) = state.read(|inner| (inner.base_url.clone(), inner.logins.who.clone()));
    let now = SystemClock.unix_micros() / 1_000_000;
    let mut claims = json!({
        "iss": base, "aud": made.client, "nonce": made.nonce, "iat": now, "exp": now + 300,
    });
    for (name, value) in who?.as_object()? {
        claims[name] = value.clone();
    }
    Some(state.minter.mint(Signing::Rs256, &claims))
}

/// Short-lived, so that the next use refreshes.
fn tokens(logins: &mut Logins) -> Value {
    logins.made += 1;
    let refresh = format!("refresh-{}", logins.made);
    logins.refresh.push(refresh.clone());
    json!({"access_token": format!("access-{}", logins.made), "token_type": "Bearer", "expires_in": 30, "refresh_token": refresh})
}
