use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::form::Form;
use super::state::{Call, State};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The codes and tokens issued to people who sign in.
#[derive(Default)]
pub(super) struct Logins {
    /// Codes that were not redeemed, with the challenge and the address they were made for.
    codes: BTreeMap<String, (String, String)>,
    /// Refresh tokens; each works once.
    refresh: Vec<String>,
    pub(super) approved: bool,
    made: usize,
}

/// The page where people agree: they do so at once. Where a browser would be sent is in the answer, as `location`.
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
        let kept = (field("code_challenge"), redirect.clone());
        inner.logins.codes.insert(code.clone(), kept);
        code
    });
    (
        200,
        json!({"location": format!("{redirect}?code={code}&state={word}")}),
    )
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
        "authorization_code" => redeem(&mut inner.logins, call),
        "refresh_token" => {
            let held = inner
                .logins
                .refresh
                .iter()
                .position(|one| one == field("refresh_token"));
            held.map(|at| drop(inner.logins.refresh.remove(at)))
                .ok_or("invalid_grant")
        }
        DEVICE_GRANT if inner.logins.approved => Ok(()),
        DEVICE_GRANT => Err("authorization_pending"),
        _ => Err("unsupported_grant_type"),
    });
    match granted {
        Ok(()) => (200, state.change(|inner| tokens(&mut inner.logins))),
        Err(error) => (400, json!({ "error": error })),
    }
}

/// Every refresh token ends.
pub(super) fn revoke(state: &State, _: &Call) -> (u16, Value) {
    state.change(|inner| inner.logins.refresh.clear());
    (200, json!({}))
}

/// RFC 7636 section 4.6: the code belongs to the client that knows the verifier of its challenge.
fn redeem(logins: &mut Logins, call: &Call) -> Result<(), &'static str> {
    let field = |name: &str| call.form.get(name).unwrap_or_default();
    let kept = logins.codes.remove(field("code")).ok_or("invalid_grant")?;
    let proof = digest(&SHA256, field("code_verifier").as_bytes());
    let made = (
        URL_SAFE_NO_PAD.encode(proof),
        field("redirect_uri").to_owned(),
    );
    (made == kept).then_some(()).ok_or("invalid_grant")
}

/// Short-lived, so that the next use refreshes.
fn tokens(logins: &mut Logins) -> Value {
    logins.made += 1;
    let refresh = format!("refresh-{}", logins.made);
    logins.refresh.push(refresh.clone());
    json!({"access_token": format!("access-{}", logins.made), "token_type": "Bearer", "expires_in": 30, "refresh_token": refresh})
}
