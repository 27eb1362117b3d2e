//! The pages, over the wire: signing in, what they show, and what other sites cannot do.

mod browser;
mod guards;
mod operators;
mod people;
mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use ostia::people::{Actor, Desk, KeyRequest};
use ostia::settings::Keys;
use ostia_core::{Clock, KeyRights, SystemClock};
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, USER};
use ostia_testkit::idp::{CLIENT_ID, FakeIdp, GlobusUser};
use serde_json::{Value, json};

use browser::Browser;

/// The address that pages are configured with; nothing connects to it.
const PUBLIC: &str = "http://localhost:8000";
const PAGES: &str = "[server]\npublic_url = \"http://localhost:8000\"\n[auth]\nadmit = [\"*\"]";

/// With API keys only.
async fn rig(settings: &str) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .model("m", &backend)
        .settings(PAGES)
        .settings(settings);
    (backend, TestGateway::start(site).await)
}

fn oidc_site(idp: &FakeIdp, backend: &FakeBackend) -> Site {
    let base = idp.base_url();
    let settings = format!(
        r#"
        [auth]
        providers = ["api_key", "oidc"]
        [auth.oidc]
        name = "The Lab"
        issuer = "{base}"
        audience = "ostia"
        client_id = "pages"
        client_secret = "env:IDP_SECRET"
        domains = ["lab.org"]
        "#
    );
    Site::new()
        .model("m", backend)
        .settings(PAGES)
        .settings(&settings)
        .variable("IDP_SECRET", idp.secret().secret())
        .guard(idp.secret())
}

async fn oidc_rig(settings: &str) -> (FakeIdp, FakeBackend, TestGateway) {
    let (idp, backend) = (FakeIdp::start().await, FakeBackend::start().await);
    let site = oidc_site(&idp, &backend).settings(settings);
    let gateway = TestGateway::start(site).await;
    (idp, backend, gateway)
}

fn ann() -> Value {
    json!({"sub": "1", "name": "Ann", "preferred_username": "ann@lab.org", "email": "ann@lab.org",
        "email_verified": true, "groups": ["physics"]})
}

async fn desk(gateway: &TestGateway) -> Desk {
    let url = gateway.site().database_url();
    let store = ostia_store::open(&url).await.unwrap();
    let day = Duration::from_secs(86_400);
    let keys = Keys {
        default_age: day,
        max_age: day,
        per_user: 0,
        owner_ttl: None,
    };
    Desk::new(store, Arc::new(SystemClock), keys, Actor::default())
}

async fn key(gateway: &TestGateway, user: &str, rights: KeyRights) -> String {
    let asked = KeyRequest {
        user: user.to_owned(),
        label: "one".to_owned(),
        rights,
        ..KeyRequest::default()
    };
    let made = desk(gateway).await.create_key(asked).await.unwrap();
    made.key.expose().clone()
}
