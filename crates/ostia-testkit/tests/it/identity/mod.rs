//! Sign-in through identity providers, over the wire.

mod globus;
mod keys;
mod oidc;
mod outages;
mod people;
mod roles;

use ostia_core::{Clock, SystemClock};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Site, TestGateway};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp};
use serde_json::{Value, json};

const AUDIENCE: &str = "ostia";

fn now() -> i64 {
    SystemClock.unix_micros() / 1_000_000
}

/// A gateway that accepts API keys and Globus; `more`: further settings of `[auth.globus]`.
async fn globus_rig(more: &str) -> (FakeIdp, FakeBackend, TestGateway) {
    globus_rig_as(CLIENT_ID, more).await
}

async fn globus_rig_as(client_id: &str, more: &str) -> (FakeIdp, FakeBackend, TestGateway) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let base = idp.base_url();
    let settings = format!(
        r#"
        [auth]
        providers = ["api_key", "globus"]
        [auth.globus]
        client_id = "{client_id}"
        client_secret = "env:IDP_SECRET"
        auth_url = "{base}"
        groups_url = "{base}"
        {more}
        "#
    );
    let gateway = start(&idp, &backend, &settings).await;
    (idp, backend, gateway)
}

async fn oidc_rig() -> (FakeIdp, FakeBackend, TestGateway) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let base = idp.base_url();
    let settings = format!(
        r#"
        [auth]
        providers = ["api_key", "oidc", "introspection"]
        admit = ["*"]
        [auth.oidc]
        issuer = "{base}"
        audience = "{AUDIENCE}"
        claims = {{ user = "preferred_username" }}
        [auth.introspection]
        url = "{base}/introspect"
        client_id = "{CLIENT_ID}"
        client_secret = "env:IDP_SECRET"
        claims = {{ user = "username" }}
        "#
    );
    let gateway = start(&idp, &backend, &settings).await;
    (idp, backend, gateway)
}

async fn start(idp: &FakeIdp, backend: &FakeBackend, settings: &str) -> TestGateway {
    let site = Site::new()
        .model("m", backend)
        .settings(settings)
        .variable("IDP_SECRET", idp.secret().secret())
        .guard(idp.secret());
    TestGateway::start(site).await
}

fn whoami(token: &str) -> Request {
    Request::get("/whoami").bearer(token)
}

/// A user in the form of RFC 7662.
fn active(subject: &str, groups: &[&str]) -> Value {
    json!({
        "active": true, "sub": subject, "username": format!("{subject}@lab.org"), "exp": now() + 3_600, "groups": groups,
    })
}

/// Checks the form of a refusal, and returns its status and code.
#[track_caller]
fn refusal(answer: &Answer) -> (u16, String) {
    let status = answer.status();
    let error = &answer.json()["error"];
    assert!(
        error["message"].is_string() && error["type"].is_string(),
        "{}",
        answer.text()
    );
    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge.is_some(), status == 401, "{}", answer.text());
    assert!(challenge.is_none_or(|value| value.starts_with("Bearer realm=")));
    let waits = matches!(status, 429 | 503);
    let wait = answer
        .header("retry-after")
        .map(|value| value.parse::<u64>().unwrap());
    assert_eq!(wait.is_some(), waits, "{}", answer.text());
    assert!(wait.is_none_or(|seconds| (1..=120).contains(&seconds)));
    (status, answer.error_code().unwrap_or_default())
}
