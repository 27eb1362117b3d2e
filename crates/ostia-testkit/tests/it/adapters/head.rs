//! What hooks learn about the caller, and what they may do to the answer's head, in Rust and in scripts.

use std::sync::Arc;

use async_trait::async_trait;
use ostia::backend::{AdapterError, EndpointAdapter, RequestContext, ResponseContext};
use ostia::gateway::Gateway;
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gateway::{BACKEND_KEY_VARIABLE, Endpoint, Site, TestGateway};
use parking_lot::Mutex;
use serde_json::json;

use crate::common::assert_error;

/// Does what `SCRIPT` does, and records which forbidden attempts succeeded.
#[derive(Clone, Default)]
struct Signing(Arc<Mutex<Vec<String>>>);

const SCRIPT: &str = r#"
fn on_request(ctx) {
    ctx.set_header("x-signature", base64url(hmac_sha256(ctx.secret("TESTKIT_BACKEND_KEY"), ctx.final_body())));
    ctx.set_header("x-token", "Bearer " + ctx.secret("TESTKIT_BACKEND_KEY"));
    if ctx.session != () { ctx.set_header("x-hashed-session", hex(sha256(ctx.session))); }
    if ctx.header("x-tenant") != () { ctx.set_header("x-tenant", ctx.header("x-tenant")); }
    ctx.remove_header("user-agent");
    ctx.log("the secret is " + ctx.secret("TESTKIT_BACKEND_KEY"));
}
fn on_response(ctx) {
    ctx.set_header("x-answered", ctx.endpoint + " " + ctx.status);
    ctx.remove_header("openai-processing-ms");
    if ctx.header("x-state") == "full" { ctx.set_status(429); ctx.set_header("retry-after", "7"); }
    if ctx.header("x-state") == "cookie" { ctx.set_header("set-cookie", "a=b"); }
}"#;

#[async_trait]
impl EndpointAdapter for Signing {
    async fn on_request(&self, ctx: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        let secret = ctx.secret(BACKEND_KEY_VARIABLE).unwrap().expose();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = ring::hmac::sign(&key, &ctx.final_body()?);
        ctx.set_header("x-signature", &encode(tag.as_ref()))?;
        ctx.set_header("x-token", &format!("Bearer {secret}"))?;
        if let Some(session) = ctx.session() {
            let digest = ring::digest::digest(&ring::digest::SHA256, session.as_bytes());
            ctx.set_header("x-hashed-session", &hex::encode(digest))?;
        }
        if let Some(tenant) = ctx.header("x-tenant") {
            ctx.set_header("x-tenant", tenant.to_str().unwrap())?;
        }
        ctx.remove_header("user-agent")
    }

    async fn on_response(&self, ctx: &mut ResponseContext<'_>) {
        let answered = format!("{} {}", ctx.deployment.slug, ctx.status().as_u16());
        ctx.set_header("x-answered", &answered).unwrap();
        ctx.remove_header("openai-processing-ms");
        if ctx
            .headers()
            .get("x-state")
            .is_some_and(|state| state == "full")
        {
            ctx.set_status(429).unwrap();
            ctx.set_header("retry-after", "7").unwrap();
        }
        let mut taken = self.0.lock();
        for status in [0, 100, 199, 600, 1000] {
            taken.extend(ctx.set_status(status).map(|()| status.to_string()));
        }
        for name in NEVER_SET {
            taken.extend(ctx.set_header(name, "a").map(|()| name.to_owned()));
        }
    }
}

const NEVER_SET: [&str; 6] = [
    "set-cookie",
    "server",
    "location",
    "content-length",
    "x-request-id",
    "x y",
];

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// The only secret is the backend's key, so the test searches for it in everything but requests to backends.
async fn start(backend: &FakeBackend, signing: &Signing) -> TestGateway {
    let site = Site::new();
    std::fs::write(site.folder().join("a.rhai"), SCRIPT).unwrap();
    let with = |model: &str, adapter: &str| {
        Endpoint::of(model, backend)
            .field("endpoint_adapter", json!(adapter))
            .config("secrets", json!([BACKEND_KEY_VARIABLE]))
    };
    let site = site
        .endpoint(with("rust", "my.Signing"))
        .endpoint(with("script", "script:a.rhai"));
    let builder = Gateway::builder().endpoint_adapter("my.Signing", signing.clone());
    TestGateway::start_with(site, builder).await
}

#[tokio::test]
async fn hooks_sign_the_body_and_know_caller_and_session() {
    for model in ["rust", "script"] {
        let backend = FakeBackend::start().await;
        let gateway = start(&backend, &Signing::default()).await;
        let secret = gateway.site().secrets.backend_key.clone();
        let request = gateway
            .chat_stream(model)
            .header("X-Tenant", "physics")
            .header("User-Agent", "tests")
            .header("X-Session-ID", "session-7");
        assert_eq!(gateway.call(&request).await.status(), 200);
        let seen = backend.records()[0].received.clone();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.secret().as_bytes());
        let tag = ring::hmac::sign(&key, &seen.body);
        assert_eq!(
            seen.header("x-signature"),
            Some(&*encode(tag.as_ref())),
            "{model}"
        );
        let token = format!("Bearer {}", secret.secret());
        assert_eq!(seen.header("x-token"), Some(&*token), "{model}");
        let digest = ring::digest::digest(&ring::digest::SHA256, b"session-7");
        assert_eq!(seen.header("x-hashed-session"), Some(&*hex::encode(digest)));
        assert_eq!(seen.header("x-session-id"), None, "never sent on raw");
        assert_eq!(seen.header("x-tenant"), Some("physics"), "{model}");
        assert_eq!(seen.header("user-agent"), None, "{model}");
        assert_eq!(gateway.call(&gateway.chat(model)).await.status(), 200);
        let plain = &backend.records()[1].received;
        assert_eq!(plain.header("x-hashed-session"), None, "{model}");
        assert_eq!(plain.header("x-tenant"), None, "{model}");
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn hooks_change_the_answers_head() {
    let backend = FakeBackend::start().await;
    let signing = Signing::default();
    let gateway = start(&backend, &signing).await;
    let body = json!({"object": "chat.completion", "choices": [], "usage": null});
    for model in ["rust", "script"] {
        backend.next(Script::json(200, &body).header("openai-processing-ms", "7"));
        let answer = gateway.call(&gateway.chat(model)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let answered = format!("lab-vllm-{model} 200");
        assert_eq!(answer.header("x-answered"), Some(&*answered));
        assert_eq!(answer.header("openai-processing-ms"), None);

        let error = json!({"error": {"message": "full", "type": "x", "code": "full"}});
        backend.next(Script::json(500, &error).header("x-state", "full"));
        let answer = gateway.call(&gateway.chat(model)).await;
        assert_eq!(answer.status(), 429, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("7"));
        let answered = format!("lab-vllm-{model} 500");
        assert_eq!(answer.header("x-answered"), Some(&*answered));
        assert_eq!(gateway.row_of(&answer).await.upstream_status, 500);
    }
    // A forbidden change leaves the answer as it is.
    backend.next(Script::json(200, &body).header("x-state", "cookie"));
    let answer = gateway.call(&gateway.chat("script")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(*signing.0.lock(), Vec::<String>::new());
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_session_id_is_short_and_visible() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    let gateway = TestGateway::start(site).await;
    for (value, status) in [
        ("x".repeat(128), 200),
        (String::new(), 200),
        ("x".repeat(129), 400),
        ("a b".to_owned(), 400),
    ] {
        let answer = gateway
            .call(&gateway.chat("m").header("X-Session-ID", &value))
            .await;
        assert_eq!(answer.status(), status, "{value}: {}", answer.text());
        if status == 400 {
            assert_error(
                &answer,
                400,
                "invalid_request_error",
                "invalid_value",
                &value,
            );
        }
    }
    for record in backend.records() {
        assert_eq!(record.received.header("x-session-id"), None);
    }
    let rows = gateway.finish(&[&backend]).await;
    let rejected = rows.iter().filter(|row| row.outcome == "rejected").count();
    assert_eq!((rows.len(), rejected), (4, 2));
}
