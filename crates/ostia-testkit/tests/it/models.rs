//! Lists of models, as the clients of OpenAI and Anthropic, Codex and a site's own tools read them; and what agents try
//! before their first request.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Request};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

/// `org/known` states its limits itself, `plain` states none.
async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let known = Endpoint::of("org/known", &backend)
        .field("aliases", json!(["claude-known", "k"]))
        .config("display_name", json!("Known 8B"))
        .config("context_window", json!(32768))
        .config("max_output_tokens", json!(4096))
        .config("input_modalities", json!(["text", "image", "audio"]))
        .config("tool_calling", json!(true))
        .config("reasoning", json!(true));
    let site = Site::new()
        .endpoint(known)
        .endpoint(Endpoint::of("plain", &backend).config("upstream_model", json!("engine/plain")));
    (backend, TestGateway::start(site).await)
}

async fn get(gateway: &TestGateway, path: &str, anthropic: bool) -> Answer {
    let mut request = Request::get(path).bearer(&gateway.site().secrets.client_bearer());
    if anthropic {
        request = request.header("anthropic-version", "2023-06-01");
    }
    gateway.call(&request).await
}

fn by_id<'a>(list: &'a Value, key: &str, id: &str) -> &'a Value {
    let entries = list.as_array().unwrap();
    entries.iter().find(|entry| entry[key] == id).unwrap()
}

#[tokio::test]
async fn openai_s_list_says_what_the_entry_says_or_else_the_engine() {
    let (backend, gateway) = rig().await;
    let engine = json!({"object": "list", "data": [
        {"id": "other", "max_model_len": 1}, {"id": "engine/plain", "max_model_len": 8192}]});
    backend.on_path("/v1/models", Script::json(200, &engine));
    for path in [
        "/v1/models",
        "/models",
        "/resource_server/models",
        "/lab/vllm/v1/models",
    ] {
        let answer = get(&gateway, path, false).await;
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        let list = answer.json();
        let known = by_id(&list["data"], "id", "org/known");
        assert_eq!(known["object"], "model");
        assert_eq!(known["state"], "running");
        assert_eq!(known["display_name"], "Known 8B");
        assert_eq!(
            (&known["context_window"], &known["max_model_len"]),
            (&json!(32768), &json!(32768))
        );
        assert_eq!(known["max_output_tokens"], 4096);
        assert_eq!(known["input_modalities"], json!(["text", "image", "audio"]));
        let capabilities = &known["capabilities"];
        assert_eq!(capabilities["context_window_tokens"], 32768);
        assert_eq!(
            (&capabilities["tool_calling"], &capabilities["reasoning"]),
            (&json!({"supported": true}), &json!({"supported": true}))
        );
        let plain = by_id(&list["data"], "id", "plain");
        assert_eq!(
            (&plain["display_name"], &plain["context_window"]),
            (&json!("plain"), &json!(8192))
        );
    }
    for path in [
        "/v1/models/org/known",
        "/v1/models/k",
        "/models/org%2Fknown",
    ] {
        let one = get(&gateway, path, false).await.json();
        assert_eq!(
            (&one["id"], &one["context_window"]),
            (&json!("org/known"), &json!(32768)),
            "{path}"
        );
    }
    let cluster = get(&gateway, "/lab/models", false).await.json();
    let plain = by_id(&cluster, "id", "plain");
    assert_eq!(plain["max_model_len"], 8192);
    let apis = plain["capabilities"]["api_protocols"].as_array().unwrap();
    assert!(apis.contains(&json!("chat_completions")), "{plain}");
    // The engine was asked once, although five lists were made.
    let asked = backend.records();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].received.head.first_line, "GET /v1/models HTTP/1.1");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn an_engine_that_says_nothing_spoils_no_list() {
    let scripts = [
        Script::reset(),
        Script::json(500, &json!({})),
        Script::raw(200, "<html>"),
    ];
    for script in scripts {
        let (backend, gateway) = rig().await;
        backend.on_path("/v1/models", script);
        let list = get(&gateway, "/v1/models", false).await;
        assert_eq!(list.status(), 200);
        assert_eq!(
            by_id(&list.json()["data"], "id", "plain")["context_window"],
            Value::Null
        );
        gateway.finish(&[&backend]).await;
    }
}

/// The members that Codex 0.171 requires.
const DEMANDED: [&str; 11] = [
    "slug",
    "display_name",
    "supported_reasoning_levels",
    "shell_type",
    "visibility",
    "supported_in_api",
    "priority",
    "support_verbosity",
    "truncation_policy",
    "experimental_supported_tools",
    "base_instructions",
];

#[tokio::test]
async fn codex_finds_all_that_it_demands() {
    let (backend, gateway) = rig().await;
    let list = get(&gateway, "/v1/models?client_version=0.171.0", false)
        .await
        .json();
    let models = list["models"].as_array().unwrap();
    assert_eq!(models.len(), 2);
    for model in models {
        for member in DEMANDED {
            assert!(!model[member].is_null(), "{member}: {model}");
        }
        assert!(model["truncation_policy"]["limit"].is_u64());
    }
    let known = by_id(&list["models"], "slug", "org/known");
    assert_eq!(known["context_window"], 32768);
    assert_eq!(known["input_modalities"], json!(["text", "image"]));
    assert_eq!(
        known["supported_reasoning_levels"].as_array().map(Vec::len),
        Some(3)
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn anthropic_s_clients_page_through_names_and_aliases() {
    let (backend, gateway) = rig().await;
    let list = get(&gateway, "/v1/models?limit=1000", true).await.json();
    let ids = |list: &Value| -> Vec<String> {
        let entries = list["data"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&list), ["org/known", "claude-known", "k", "plain"]);
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("org/known"), &json!("plain"))
    );
    let alias = by_id(&list["data"], "id", "claude-known");
    assert_eq!(
        (&alias["type"], &alias["display_name"]),
        (&json!("model"), &json!("Known 8B"))
    );
    assert_eq!(
        (&alias["max_input_tokens"], &alias["max_tokens"]),
        (&json!(32768), &json!(4096))
    );
    assert!(
        alias["created_at"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z')),
        "{alias}"
    );

    let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let page = get(&gateway, &format!("/v1/models?{query}"), true)
            .await
            .json();
        seen.extend(ids(&page));
        if page["has_more"] == false {
            break;
        }
        query = format!("limit=3&after_id={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(seen, ids(&list));
    let back = get(&gateway, "/v1/models?limit=2&before_id=plain", true)
        .await
        .json();
    assert_eq!(
        (ids(&back), &back["has_more"]),
        (
            vec!["claude-known".to_owned(), "k".to_owned()],
            &json!(true)
        )
    );
    for query in ["limit=0", "after_id=nothing", "before_id=k&after_id=k"] {
        let bad = get(&gateway, &format!("/v1/models?{query}"), true).await;
        let body = bad.json();
        assert_eq!(
            (bad.status(), &body["type"]),
            (400, &json!("error")),
            "{query}"
        );
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert!(body["error"]["param"].is_string());
    }
    let one = get(&gateway, "/v1/models/claude-known", true).await.json();
    assert_eq!(
        (&one["type"], &one["id"]),
        (&json!("model"), &json!("org/known"))
    );
    let none = get(&gateway, "/v1/models/nothing", true).await;
    assert_eq!(
        (none.status(), &none.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_agents_try_first_is_answered_at_once() {
    let (backend, gateway) = rig().await;
    for path in ["/"] {
        for method in ["HEAD", "GET"] {
            let answer = gateway.call(&Request::new(method, path)).await;
            assert_eq!(answer.status(), 200, "{method} {path}");
            assert_eq!(answer.body.is_empty(), method == "HEAD", "{method} {path}");
        }
    }
    for (path, meant) in [
        ("/v1/v1/messages", "/v1/messages"),
        (
            "/v1/v1/messages/count_tokens?beta=true",
            "/v1/messages/count_tokens",
        ),
        ("/lab/vllm/v1/v1/messages", "/lab/vllm/v1/messages"),
    ] {
        let request = Request::post(path).bearer(&gateway.site().secrets.client_bearer());
        let lost = gateway.call(&request.json(&json!({}))).await;
        let body = lost.json();
        assert_eq!(
            (lost.status(), &body["type"]),
            (404, &json!("error")),
            "{path}"
        );
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("`/v1` twice") && message.contains(meant),
            "{message}"
        );
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}
