//! Azure's form: the path names the model, and `api-key` has the credential. The backend reads what was authorized.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Request;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

/// `Org/Model-1`, which the backend knows by another name, and `secret` for other users.
async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new()
        .endpoint(Endpoint::of("Org/Model-1", &backend).config("upstream_model", json!("on-disk")))
        .endpoint(Endpoint::of("secret", &backend).field("allowed_domains", json!(["other.org"])))
        .cluster(
            "lab",
            "openai_endpoints",
            json!(["chat/completions", "embeddings", "messages", "audio/*"]),
        );
    (backend, TestGateway::start(site).await)
}

fn post(gateway: &TestGateway, path: &str) -> Request {
    let key = gateway.site().secrets.client_bearer();
    Request::post(&format!(
        "/openai/deployments/{path}?api-version=2024-10-21"
    ))
    .header("api-key", &key)
}

fn chat(more: &Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "x"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn the_path_s_model_is_asked_whatever_the_body_says() {
    let (backend, gateway) = rig().await;
    let bodies = [
        json!({}),
        json!({"model": "Org/Model-1"}),
        json!({"model": "secret"}),
        json!({"model": "none"}),
        json!({"model": null}),
        json!({"model": 7, "stream": true}),
    ];
    for more in &bodies {
        let request = post(&gateway, "Org%2FModel-1/chat/completions").json(&chat(more));
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200, "{more}: {}", answer.text());
    }
    for record in backend.records() {
        assert_eq!(record.received.path(), "/v1/chat/completions");
        assert_eq!(record.received.model().as_deref(), Some("on-disk"));
        assert_eq!(record.received.header("api-key"), None);
        let sent = record.received.json();
        assert_eq!(sent["messages"], chat(&json!({}))["messages"]);
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), bodies.len());
    for row in rows {
        assert_eq!(
            (&*row.model, &*row.api, &*row.outcome),
            ("Org/Model-1", "chat/completions", "ok")
        );
    }
}

#[tokio::test]
async fn a_form_s_model_is_the_path_s() {
    let (backend, gateway) = rig().await;
    let part = |name: &str, value: &str| {
        format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let prompt = part("prompt", "x");
    for parts in [
        prompt.clone(),
        format!("{prompt}{}", part("model", "secret")),
    ] {
        backend.next(Script::json(200, &json!({"text": "heard"})));
        let request = post(&gateway, "Org%2fModel-1/audio/transcriptions")
            .header("content-type", "multipart/form-data; boundary=B")
            .body(format!("{parts}--B--\r\n"));
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200, "{parts}: {}", answer.text());
        let sent = backend.records().pop().unwrap().received.body;
        let sent = String::from_utf8(sent.to_vec()).unwrap();
        assert!(
            sent.contains("name=\"model\"\r\n\r\non-disk\r\n") && !sent.contains("secret"),
            "{sent}"
        );
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_refused_as_elsewhere() {
    let (backend, gateway) = rig().await;
    let cases = [
        ("none/chat/completions", 404, "model_not_found"),
        ("secret/chat/completions", 404, "model_not_found"),
        ("Org%2FModel-1%20/chat/completions", 404, "model_not_found"),
        ("%zz/chat/completions", 404, "model_not_found"),
        ("Org%2FModel-1/rerank", 400, "unsupported_endpoint"),
        ("Org%2FModel-1/files", 501, "not_implemented"),
        ("Org%2FModel-1/responses/r1", 501, "not_implemented"),
        ("Org%2FModel-1/../chat/completions", 404, "not_found"),
        ("/chat/completions", 404, "not_found"),
        ("Org%2FModel-1", 404, "not_found"),
    ];
    for (path, status, code) in cases {
        let answer = gateway
            .call(&post(&gateway, path).json(&chat(&json!({}))))
            .await;
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], code, "{path}");
    }
    let request = post(&gateway, "Org%2FModel-1/chat/completions").json(&chat(&json!({})));
    let answer = gateway.call(&request.clone().without("api-key")).await;
    assert_eq!(answer.status(), 401);
    let wrong = request.without("api-key").header("api-key", "sk-wrong");
    assert_eq!(gateway.call(&wrong).await.status(), 401);
    let get = Request::get("/openai/deployments/m/messages")
        .header("api-key", &gateway.site().secrets.client_bearer());
    let answer = gateway.call(&get).await;
    assert_eq!(
        (answer.status(), answer.header("allow")),
        (405, Some("POST"))
    );
    assert_eq!(answer.json()["type"], "error");
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}
