//! What several subjects share: rigs, events with known bytes, checks of the contract's errors.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, RawClient, Request};
use ostia_testkit::gateway::{Row, Site, TestGateway};
use serde_json::{Value, json};

pub const DONE: &str = "data: [DONE]\n\n";

/// One model `m` behind one backend.
pub async fn rig() -> (FakeBackend, TestGateway) {
    rig_with("").await
}

/// The same, with lines of `ostia.toml`.
pub async fn rig_with(settings: &str) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).settings(settings);
    (backend, TestGateway::start(site).await)
}

/// The events of a chat stream, with bytes that the test knows.
pub fn chat_events(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| chat_event(&format!("piece{n} ")))
        .collect()
}

pub fn chat_event(text: &str) -> String {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
    let chunk =
        json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// A whole chat stream: `count` pieces of text and the terminal event.
pub fn chat_stream_of(count: usize) -> Vec<String> {
    let mut events = chat_events(count);
    events.push(DONE.to_owned());
    events
}

/// Checks the contract's form of errors, and that nothing internal is shown.
pub fn assert_error(answer: &Answer, status: u16, kind: &str, code: &str, what: &str) {
    let text = answer.text();
    assert_eq!(answer.status(), status, "{what}: {text}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert_request_id(answer, what);
    let body = answer.json();
    let error = body["error"].as_object().unwrap();
    let mut members: Vec<_> = error.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "message", "param", "type"], "{what}");
    assert_eq!(error["type"], kind, "{what}: {text}");
    assert_eq!(error["code"], code, "{what}: {text}");
    assert_eq!(error["param"], Value::Null, "{what}");
    assert_says_nothing_internal(&text, what);
    if matches!(status, 429 | 503) {
        let wait = answer.header("retry-after").map(str::parse::<u64>);
        assert!(matches!(wait, Some(Ok(1..))), "{what}: {wait:?}");
    }
}

pub fn assert_request_id(answer: &Answer, what: &str) {
    let id = answer.header("x-request-id").unwrap_or_default();
    // A UUID of version 7.
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{what}: {id}");
}

pub fn assert_says_nothing_internal(text: &str, what: &str) {
    for word in [
        "127.0.0.1",
        "localhost",
        "http://",
        "hyper",
        "os error",
        "refused (",
        "rustls",
        "nginx",
        "lab-vllm",
    ] {
        assert!(!text.contains(word), "{what}: {word:?} in {text}");
    }
}

/// `outcome`, `phase`, `error_code` of a row.
pub fn told(row: &Row) -> (&str, &str, &str) {
    (&row.outcome, &row.phase, &row.error_code)
}

/// The same backend's answer without a gateway.
pub async fn directly(script: &Script, request: &Request) -> Answer {
    let backend = FakeBackend::start().await;
    backend.otherwise(script.clone());
    RawClient::connect(backend.address())
        .await
        .call(request)
        .await
}

pub fn asks_for_usage() -> Value {
    json!({"stream": true, "stream_options": {"include_usage": true}})
}
