//! The endpoint's key and address reach no caller, wherever a backend puts them. `finish` searches for them and fails
//! the test.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

use crate::common::{DONE, chat_event};

async fn rig() -> (FakeBackend, TestGateway, String) {
    let backend = FakeBackend::start().await;
    let site = Site::new().endpoint(Endpoint::of("m", &backend));
    let gateway = TestGateway::start(site).await;
    let key = gateway.site().secrets.backend_key.secret().to_owned();
    (backend, gateway, key)
}

/// The key in every encoding that is decoded before somebody sees it.
fn spellings(key: &str) -> [String; 3] {
    let percent: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
    [key.to_owned(), key.to_uppercase(), percent]
}

fn assert_silent(text: &str, spellings: &[String], what: &str) {
    let text = text.to_lowercase();
    for spelling in spellings {
        assert!(!text.contains(&spelling.to_lowercase()), "{what}: {text}");
    }
    assert!(!text.contains("127.0.0.1"), "{what}: {text}");
}

#[tokio::test]
async fn errors_within_streams_are_looked_at_as_error_bodies_are() {
    let (backend, gateway, key) = rig().await;
    let address = backend.base_url();
    let spellings = spellings(&key);
    let said = spellings.iter().map(|key| format!("bad key {key}"));
    let said: Vec<String> = said.chain([format!("cannot reach {address}/v1")]).collect();
    let mut asked = 0;
    for text in &said {
        for event in [
            format!("data: {{\"error\":{{\"message\":\"{text}\"}}}}\n\n"),
            format!("data: {{\"error\":\"{text}\"}}\n\n"),
            format!(
                "data: {{\"choices\":[],\"error\":{{\"metadata\":{{\"raw\":\"{text}\"}}}}}}\n\n"
            ),
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"message\":\"{text}\"}}}}\n\n"
            ),
            format!("data: {{\"error\":\ndata: \"{text}\"}}\n\n"),
            format!("data: internal error: {text}\n\n"),
            format!("data: {{\"detail\":\"{text}\"}}\n\n"),
            format!("data: {{\"type\":\"unauthorized\",\"message\":\"{text}\"}}\n\n"),
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"error\":{{\"message\":\"{text}\"}}}}]}}\n\n"
            ),
            format!("data: {{\"error\":{{\"message\":\"{text}\"}}}}"),
        ] {
            for events in [
                vec![event.clone()],
                vec![chat_event("x"), event.clone()],
                vec![chat_event("x"), event.clone(), DONE.to_owned()],
                vec![chat_event("x"), DONE.to_owned(), event.clone()],
            ] {
                backend.next(Script::events(events));
                let answer = gateway.call(&gateway.chat_stream("m")).await;
                assert_silent(&answer.text(), &spellings, &event);
                asked += 1;
            }
        }
    }
    assert_eq!(backend.records().len(), asked);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn other_dialects_events_are_looked_at_too() {
    let (backend, gateway, key) = rig().await;
    let failed = json!({"type": "response.failed", "response": {"id": "r", "object": "response", "status": "failed",
        "error": {"code": "server_error", "message": format!("bad key {key}")}}});
    let error = json!({"type": "error", "error": {"type": "api_error", "message": format!("bad key {key}")}});
    for (api, kind, data) in [
        ("responses", "response.failed", &failed),
        ("responses", "error", &error),
        ("messages", "error", &error),
    ] {
        backend.next(Script::events([format!("event: {kind}\ndata: {data}\n\n")]));
        let more = json!({"stream": true, "max_tokens": 1});
        let answer = gateway.call(&gateway.request(api, "m", &more)).await;
        assert_silent(&answer.text(), std::slice::from_ref(&key), kind);
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn comments_and_other_lines_are_looked_at() {
    let (backend, gateway, key) = rig().await;
    let spellings = spellings(&key);
    let address = backend.base_url();
    let said = spellings.iter().take(3).chain([&address]);
    for text in said {
        for line in [
            format!(": {text}"),
            format!(":{text}"),
            format!("id: {text}"),
            format!("event: {text}"),
            format!("retry: {text}"),
            format!("x-trace: {text}"),
            text.clone(),
        ] {
            let first = format!("{line}\n\n");
            let before = format!("{line}\n{}", chat_event("kept"));
            let trailing = format!("{DONE}{line}\n\n");
            backend.next(Script::events([first, before, trailing]));
            let answer = gateway.call(&gateway.chat_stream("m")).await;
            assert_silent(&answer.text(), &spellings, &line);
            let events = answer.events();
            assert!(answer.text().contains("kept"), "{line}: {events:?}");
        }
    }
    gateway.finish(&[&backend]).await;
}

/// An error too long to be searched is withheld, like an error body of that length.
#[tokio::test]
async fn a_very_long_error_is_withheld() {
    let (backend, gateway, key) = rig().await;
    let long = format!("{}{key}", "x".repeat(1 << 20));
    for event in [
        format!("data: {{\"error\":{{\"message\":\"{long}\"}}}}\n\n"),
        format!("event: error\ndata: {{\"message\":\"{long}\"}}\n\n"),
        format!(": {long}\n\n"),
    ] {
        backend.next(Script::events([chat_event("x"), event]));
        let answer = gateway.call(&gateway.chat_stream("m")).await;
        assert_silent(&answer.text(), std::slice::from_ref(&key), "long");
        assert!(answer.body.len() < 4096, "{}", answer.body.len());
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn answers_that_pass_hold_no_error_that_tells() {
    let (backend, gateway, key) = rig().await;
    for body in [
        json!({"choices": [{"finish_reason": "error"}], "usage": {}, "error": {"message": format!("bad key {key}")}}),
        json!({"id": "r", "object": "response", "status": "failed", "error": {"message": format!("at {}", backend.base_url())}}),
        json!({"detail": format!("bad key {key}")}),
        json!({"detail": [{"loc": ["header"], "msg": format!("bad key {key}")}]}),
        json!({"type": "unauthorized", "message": format!("at {}", backend.base_url())}),
        json!({"choices": [{"index": 0, "error": {"message": format!("bad key {key}")}}]}),
        json!({"choices": [{"finish_reason": "error", "message": {"content": format!("bad key {key}")}}]}),
    ] {
        backend.next(Script::json(200, &body));
        let api = if body["object"] == "response" {
            "responses"
        } else {
            "chat/completions"
        };
        let answer = gateway.call(&gateway.request(api, "m", &json!({}))).await;
        assert_eq!(answer.status(), 502, "{}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some("upstream_invalid"));
    }
    gateway.finish(&[&backend]).await;
}

/// The key itself has no place in any event or answer, not even where the model speaks.
#[tokio::test]
async fn the_key_stands_nowhere_in_an_answer() {
    let (backend, gateway, key) = rig().await;
    let spellings = spellings(&key);
    let choice = json!([{"index": 0, "delta": {"content": "x"}}]);
    for event in [
        json!({"id": key, "choices": choice}),
        json!({"model": format!("m@{key}"), "choices": choice}),
        json!({"choices": choice, "system_fingerprint": key}),
        json!({"warning": format!("at {}", backend.base_url())}),
        json!({"choices": [], "exception": format!("at {}", backend.base_url())}),
        json!({"choices": [], "traceback": [format!("headers {key}")]}),
    ] {
        for before in [vec![], vec![chat_event("x")]] {
            let mut events = before;
            events.push(format!("data: {event}\n\n"));
            backend.next(Script::events(events));
            let answer = gateway.call(&gateway.chat_stream("m")).await;
            assert_silent(&answer.text(), &spellings, &event.to_string());
        }
    }
    let whole = json!({"id": key, "choices": [{"finish_reason": "stop"}], "usage": {}});
    backend.next(Script::json(200, &whole));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.status(), 502, "{}", answer.text());
    backend.next(Script::raw(200, format!("key {key}")).header("content-type", "text/plain"));
    let speech = gateway.request("audio/speech", "m", &json!({"input": "a"}));
    assert_silent(&gateway.call(&speech).await.text(), &spellings, "speech");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn errors_hide_the_key_in_base64_in_hex_and_in_part() {
    use base64::Engine;
    let (backend, gateway, key) = rig().await;
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("Bearer {key}"));
    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    let part = key[..key.len() - 3].to_owned();
    for told in [base64, hex, part] {
        for body in [
            json!({"error": {"message": format!("bad key {told}")}}),
            json!({"detail": format!("bad key {told}")}),
        ] {
            backend.next(Script::json(400, &body));
            let answer = gateway.call(&gateway.chat("m")).await;
            assert_eq!(answer.status(), 400);
            assert!(!answer.text().contains(&told), "{}", answer.text());
        }
        let event = json!({"error": {"message": format!("bad key {told}")}});
        backend.next(Script::events([
            chat_event("x"),
            format!("data: {event}\n\n"),
        ]));
        let answer = gateway.call(&gateway.chat_stream("m")).await;
        assert!(!answer.text().contains(&told), "{}", answer.text());
    }
    gateway.finish(&[&backend]).await;
}

/// The model's own output always passes, whatever it is.
#[tokio::test]
async fn what_a_model_says_is_passed_on() {
    let (backend, gateway, _) = rig().await;
    let text = format!("error: see {} or \\u0065rror", backend.base_url());
    let events = vec![chat_event(&text), DONE.to_owned()];
    backend.next(Script::events(events.clone()));
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_eq!(answer.text(), events.concat());
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn headers_pass_only_in_their_form() {
    let (backend, gateway, key) = rig().await;
    let key = key.as_str();
    let lower = key.to_lowercase();
    let names = [
        format!("x-ratelimit-{lower}"),
        format!("x-ratelimit-limit-{lower}"),
    ];
    let events = || Script::events([chat_event("x"), DONE.to_owned()]);
    let answer = || {
        Script::json(
            200,
            &json!({"choices": [{"finish_reason": "stop"}], "usage": {}}),
        )
    };
    let refusal = || Script::error(429, "slow down");
    let mut asked = 0;
    for (name, value, shown) in [
        ("retry-after", key, None),
        ("retry-after", "3", Some("3")),
        ("openai-processing-ms", key, None),
        ("openai-processing-ms", "12", Some("12")),
        ("x-ratelimit-limit-tokens", key, None),
        ("x-ratelimit-reset-tokens", "6m0s", Some("6m0s")),
        (names[0].as_str(), "1", None),
        (names[1].as_str(), "1", None),
    ] {
        for (script, stream) in [(events(), true), (answer(), false), (refusal(), false)] {
            backend.next(script.header(name, value));
            let request = gateway.request("chat/completions", "m", &json!({"stream": stream}));
            let answer = gateway.call(&request).await;
            let is_refusal = answer.status() == 429;
            let expected = match (is_refusal, name) {
                (true, "openai-processing-ms") => None,
                _ => shown,
            };
            if !(is_refusal && name == "retry-after") {
                assert_eq!(answer.header(name), expected, "{name}: {value}");
            }
            asked += 1;
        }
    }
    for kind in [
        format!("text/event-stream; key={key}"),
        format!("text/event-stream; charset={key}"),
        format!("text/event-stream;{key}"),
    ] {
        backend.next(events().header("content-type", &kind));
        let answer = gateway.call(&gateway.chat_stream("m")).await;
        assert_silent(
            answer.header("content-type").unwrap_or_default(),
            &[key.to_owned()],
            &kind,
        );
        asked += 1;
    }
    backend.next(Script::raw(200, "x").header("content-type", &format!("audio/{key}")));
    gateway
        .call(&gateway.request("audio/speech", "m", &json!({"input": "a"})))
        .await;
    assert_eq!(backend.records().len(), asked + 1);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn error_bodies_hide_the_key_in_every_spelling() {
    let (backend, gateway, key) = rig().await;
    let spellings = spellings(&key);
    for text in &spellings {
        let body = format!("{{\"error\":{{\"message\":\"at /v1?key={text}\"}}}}");
        for body in [body.clone(), body.replace("message", "m\\u0065ssage")] {
            backend.next(Script::raw(400, body).header("content-type", "application/json"));
            let answer = gateway.call(&gateway.chat("m")).await;
            assert_eq!(answer.status(), 400);
            assert_silent(&answer.text(), &spellings, text);
        }
    }
    gateway.finish(&[&backend]).await;
}
