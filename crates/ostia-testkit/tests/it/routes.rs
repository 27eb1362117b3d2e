//! Every route of the table: who reaches it, and what it reveals to whom.

use http::Method;
use ostia::identify::hash_key;
use ostia::routes::{ROUTES, RouteEntry, RouteKind};
use ostia_core::{Clock, NewApiKey, SystemClock};
use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use crate::names::nameless;

/// A path that matches an entry's pattern, for things that the caller must not know of.
fn sample(entry: &RouteEntry) -> String {
    entry
        .pattern
        .replace("{cluster}", "canary-cluster")
        .replace("{framework}", "vllm")
        .replace("{reserved}", "files")
        .replace("{*api}", "chat/completions")
        .replace("responses/{*id}", "responses/canary-model/cancel")
        .replace("{id}", "canary-response")
        .replace("{*id}", "canary-model")
        .replace("{*rest}", "x/y")
}

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let hidden = |model| Endpoint::of(model, &backend);
    let site = Site::new()
        .model("org/open", &backend)
        .endpoint(hidden("canary-model").on("canary-cluster", "vllm"))
        .endpoint(hidden("canary-other").field("allowed_domains", json!(["other.org"])))
        .cluster("canary-cluster", "allowed_domains", json!(["other.org"]))
        .settings("[server]\ncors_origins = [\"https://chat.lab.org\"]");
    (backend, TestGateway::start(site).await)
}

async fn get(gateway: &TestGateway, path: &str) -> Answer {
    let bearer = gateway.site().secrets.client_bearer();
    gateway.call(&Request::get(path).bearer(&bearer)).await
}

#[tokio::test]
async fn nobody_passes_without_signing_in_but_on_the_open_list() {
    let (backend, gateway) = rig().await;
    for entry in ROUTES {
        for method in entry.methods.iter().filter(|method| **method != "HEAD") {
            for base in ["", "/resource_server"] {
                // The base path itself is not a page.
                if entry.pattern == "/" && !base.is_empty() {
                    continue;
                }
                let path = format!("{base}{}", sample(entry));
                let answer = gateway.call(&Request::new(method, &path)).await;
                let expected = if entry.open { 200 } else { 401 };
                assert_eq!(answer.status(), expected, "{method} {path}");
            }
        }
    }
    assert!(gateway.finish(&[&backend]).await.is_empty());
}

#[tokio::test]
async fn no_route_tells_of_what_is_forbidden() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    let body = json!({"model": "canary-model", "messages": [{"role": "user", "content": "x"}]});
    for entry in ROUTES {
        let path = sample(entry);
        let method = entry.methods[0];
        let mut request = Request::new(method, &path).bearer(&bearer);
        if method == Method::POST.as_str() {
            request = request.json(&body);
        }
        let answer = gateway.call(&request).await;
        let (status, text) = (answer.status(), answer.text());
        // Only the requested name is repeated.
        let rest = text.replacen("The model `canary-model` does", "", 1);
        assert!(!rest.contains("canary"), "{method} {path}: {text}");
        let named = path.contains("canary");
        match entry.kind {
            RouteKind::NotServed { .. } => assert_eq!(status, 501, "{path}"),
            RouteKind::Stored => assert_eq!(status, 404, "{path}"),
            // For registrars only; the answer does not depend on the name.
            RouteKind::Register => assert_eq!(status, 403, "{path}"),
            RouteKind::Jobs | RouteKind::ClusterModels => assert!(status >= 400, "{path}"),
            RouteKind::Inference => assert_eq!(status, 404, "{path}"),
            _ if named => assert_eq!(status, 404, "{path}"),
            _ => assert_eq!(status, 200, "{path}"),
        }
    }
    // Only the engines of permitted models were asked for their sizes.
    let asked = backend.records();
    assert!(asked.iter().all(|record| record.received.method == "GET"));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn models_are_listed_as_openai_lists_them() {
    let (backend, gateway) = rig().await;
    for path in [
        "/v1/models",
        "/lab/vllm/v1/models",
        "/resource_server/v1/models",
    ] {
        let list = get(&gateway, path).await.json();
        assert_eq!(list["object"], "list", "{path}");
        let models = list["data"].as_array().unwrap();
        assert_eq!(models.len(), 1, "{path}");
        let model = &models[0];
        assert_eq!(
            (&model["id"], &model["object"]),
            (&json!("org/open"), &json!("model"))
        );
        assert!(model["created"].as_i64().unwrap() > 1_700_000_000);
        assert_eq!(
            (&model["owned_by"], &model["state"]),
            (&json!("lab"), &json!("running"))
        );
    }
    for path in [
        "/v1/models/org/open",
        "/v1/models/org%2Fopen",
        "/lab/vllm/v1/models/org%2fopen",
    ] {
        assert_eq!(get(&gateway, path).await.json()["id"], "org/open", "{path}");
    }
    let missing = get(&gateway, "/v1/models/canary-model").await;
    let absent = get(&gateway, "/v1/models/nothing").await;
    assert_eq!(missing.status(), 404);
    assert_eq!(
        nameless(&missing, "canary-model"),
        nameless(&absent, "nothing")
    );
    assert_eq!(missing.error_code().as_deref(), Some("model_not_found"));
    let hidden = get(&gateway, "/canary-cluster/vllm/v1/models").await;
    let nowhere = get(&gateway, "/nowhere/vllm/v1/models").await;
    assert_eq!((hidden.status(), &hidden.body), (404, &nowhere.body));
    let framework = get(&gateway, "/lab/sglang/v1/models").await;
    assert_eq!(
        framework.error_code().as_deref(),
        Some("unsupported_framework")
    );
    assert_eq!(get(&gateway, "/status").await.json(), json!({"lab": true}));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_page_and_the_document_are_there_for_everybody() {
    let (backend, gateway) = rig().await;
    let page = gateway.call(&Request::get("/docs")).await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let document = gateway.call(&Request::get("/openapi.json")).await.json();
    assert!(document["paths"]["/v1/chat/completions"]["post"].is_object());
    let head = gateway.call(&Request::new("HEAD", "/health")).await;
    assert_eq!((head.status(), head.body.len()), (200, 0));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn browsers_of_listed_origins_are_let_in() {
    let (backend, gateway) = rig().await;
    let preflight = |origin: &str| {
        Request::new("OPTIONS", "/v1/chat/completions")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
    };
    let listed = gateway.call(&preflight("https://chat.lab.org")).await;
    assert_eq!(listed.status(), 204);
    assert_eq!(
        listed.header("access-control-allow-origin"),
        Some("https://chat.lab.org")
    );
    assert_eq!(
        listed.header("access-control-allow-headers"),
        Some("authorization")
    );
    let strange = gateway.call(&preflight("https://evil.org")).await;
    assert_eq!(strange.header("access-control-allow-origin"), None);

    let from = |request: Request| request.header("origin", "https://chat.lab.org");
    let chat = gateway.call(&from(gateway.chat("org/open"))).await;
    assert_eq!(
        chat.header("access-control-allow-origin"),
        Some("https://chat.lab.org")
    );
    assert!(
        chat.header("access-control-expose-headers")
            .unwrap()
            .contains("x-request-id")
    );
    let refused = gateway.call(&from(Request::get("/whoami"))).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.header("access-control-allow-origin").is_some());
    assert_eq!(
        gateway
            .call(&Request::new("OPTIONS", "/whoami"))
            .await
            .status(),
        401
    );
    gateway.finish(&[&backend]).await;
}

/// Makes a key for another user, directly in the database.
pub async fn second_user(gateway: &TestGateway) -> String {
    let key = "sk-ostia-second".to_owned();
    let url = format!("sqlite://{}", gateway.site().database_path().display());
    let store = ostia_store::open(&url).await.unwrap();
    let new = NewApiKey {
        id: "key-of-second".to_owned(),
        hash: hash_key(&key),
        username: "second@example.org".to_owned(),
        created_at: SystemClock.unix_micros(),
        ..NewApiKey::default()
    };
    store.create_key(&new).await.unwrap();
    key
}

#[tokio::test]
async fn a_response_is_continued_by_its_maker_through_its_endpoint_alone() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).model("other", &backend);
    let gateway = TestGateway::start(site).await;
    let second = second_user(&gateway).await;
    let continuing = |model: &str, id: &str, stream: bool| {
        gateway.request(
            "responses",
            model,
            &json!({"previous_response_id": id, "stream": stream}),
        )
    };
    let refused = |answer: Answer| {
        let body = answer.json();
        assert_eq!(answer.status(), 400);
        assert_eq!(body["error"]["code"], "previous_response_not_found");
        assert_eq!(body["error"]["param"], "previous_response_id");
    };
    refused(gateway.call(&continuing("m", "resp_1", false)).await);
    for (model, stream) in [("m", false), ("other", true)] {
        backend.on_model(model, made(model, stream));
        let more = json!({"stream": stream});
        let answer = gateway
            .call(&gateway.request("responses", model, &more))
            .await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let id = format!("resp_{model}");
        let mine = gateway.call(&continuing(model, &id, stream)).await;
        assert_eq!(mine.status(), 200, "{}", mine.text());
        let theirs = continuing(model, &id, stream)
            .without("authorization")
            .bearer(&second);
        refused(gateway.call(&theirs).await);
    }
    refused(gateway.call(&continuing("other", "resp_m", false)).await);
    assert_eq!(backend.records().len(), 4);
    gateway.finish(&[&backend]).await;
}

/// A response made by a model, named after it.
fn made(model: &str, stream: bool) -> Script {
    let response = json!({
        "id": format!("resp_{model}"), "object": "response", "status": "completed", "output": [],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    });
    if !stream {
        return Script::json(200, &response);
    }
    let event = |kind: &str| -> String {
        let data: Value = json!({"type": kind, "response": response});
        format!("event: {kind}\ndata: {data}\n\n")
    };
    Script::events([event("response.created"), event("response.completed")])
}
