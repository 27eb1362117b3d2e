//! The device authorization grant (RFC 8628): the browser may be on any machine.

use std::time::Duration;

use ostia::identify::{Web, WebRequest};
use ostia_core::{Clock as _, SystemClock};
use serde_json::Value;

use super::authority::{Authority, Grant};
use super::{browser, call, json_of, parse};
use crate::failure::Failure;
use crate::output::note;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The interval if the issuer sets none (section 3.2), and the slow-down step (section 3.5).
const INTERVAL: u64 = 5;
const LONGEST: u64 = 1_800;

pub(super) async fn sign_in(
    web: &dyn Web,
    authority: &Authority,
    ask: &Grant<'_>,
) -> Result<Value, Failure> {
    let door = authority
        .device
        .clone()
        .ok_or_else(|| Failure::usage("the issuer offers no device codes: use another --way"))?;
    let fields = [("client_id", ask.client_id), ("scope", ask.scope)];
    let begun = json_of(&call(web, WebRequest::post(door, &fields)).await?)?;
    let word = |name: &str| {
        let found = begun[name].as_str().filter(|text| !text.is_empty());
        found.ok_or_else(|| Failure::other(format!("the issuer's answer has no {name}")))
    };
    let (device_code, user_code) = (word("device_code")?, word("user_code")?);
    let page = begun["verification_uri_complete"].as_str();
    let page = page.map_or_else(|| word("verification_uri"), Ok)?;
    note(&format!(
        "Open this address in any browser, and confirm the code {}:",
        user_code.escape_debug()
    ));
    browser::open(
        &page.escape_debug().to_string(),
        ask.browser && parse(page).is_ok(),
    );
    poll(web, authority, ask, device_code, &begun).await
}

async fn poll(
    web: &dyn Web,
    authority: &Authority,
    ask: &Grant<'_>,
    device_code: &str,
    begun: &Value,
) -> Result<Value, Failure> {
    let life = begun["expires_in"].as_u64().unwrap_or(LONGEST).min(LONGEST);
    let end = SystemClock.now() + Duration::from_secs(life);
    let mut interval = begun["interval"].as_u64().unwrap_or(INTERVAL).clamp(1, 60);
    let fields = [
        ("grant_type", GRANT),
        ("device_code", device_code),
        ("client_id", ask.client_id),
    ];
    while SystemClock.now() < end {
        tokio::time::sleep(Duration::from_secs(interval)).await;
        let request = WebRequest::post(authority.token.clone(), &fields);
        // A lost poll does not end the sign-in (section 3.5).
        let Ok(answer) = call(web, request).await else {
            interval = (interval * 2).min(60);
            continue;
        };
        let said = json_of(&answer)?;
        if answer.status.is_success() {
            return Ok(said);
        }
        match said["error"].as_str().unwrap_or_default() {
            "authorization_pending" => {}
            "slow_down" => interval += INTERVAL,
            error => {
                let shown = error.escape_debug();
                return Err(Failure::other(format!("the issuer refuses: {shown}")));
            }
        }
    }
    Err(Failure::other("the code expired before anybody signed in"))
}
