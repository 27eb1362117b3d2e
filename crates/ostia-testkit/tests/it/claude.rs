//! What Claude Code relies on: counted tokens, the wording for a prompt that is too long, and unchanged bytes.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use ostia_testkit::patience::within;
use serde_json::json;

use crate::common::rig;

/// The first two requests of a session, sent together under FIRST's limits: the second waits until the first reports
/// its usage.
#[tokio::test]
async fn the_first_two_requests_of_a_session_fit_under_first_s_limits() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend)
        .field("tpm_user", json!(60_000))
        .field("tpm_model", json!(100_000));
    let limits = "[limits]\nrequests_per_second_per_user = 10\nqueue_timeout = \"15s\"\nreserve_output = \"estimate\"";
    let site = Site::new().endpoint(endpoint).settings(limits);
    let gateway = TestGateway::start(site).await;
    let gate = Gate::closed();
    // 125,000 bytes of such text are 27,600 tokens.
    let answer = || Script::completion().prompt_tokens(27_600, 0);
    backend.next(answer().gate_head(&gate));
    backend.otherwise(answer());
    let tools: Vec<_> = (0..50)
        .map(|n| json!({"name": format!("tool_{n}"), "description": "Reads a file. ".repeat(170), "input_schema": {"type": "object"}}))
        .collect();
    let more = json!({"tools": tools, "max_tokens": 32_000, "messages": [{"role": "user", "content": "hello"}]});
    let request = gateway.request("messages", "m", &more);
    let bytes = request.bytes().len();
    assert!((120_000..130_000).contains(&bytes), "{bytes}");
    let second = async {
        gate.reached(1).await;
        gateway.call(&request).await
    };
    let opening = async {
        let waiting = async {
            while gateway.gateway().admitter().waiting() == 0 {
                tokio::task::yield_now().await;
            }
        };
        within(|| "the second to wait".to_owned(), waiting).await;
        gate.open();
    };
    let (first, second, ()) = tokio::join!(gateway.call(&request), second, opening);
    assert_eq!(
        (first.status(), second.status()),
        (200, 200),
        "{}",
        second.text()
    );
    gateway.finish(&[&backend]).await;
}

async fn rig_of(key: &str) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).config(key, json!(true));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    (backend, gateway)
}

#[tokio::test]
async fn tokens_are_counted_by_the_engine_or_estimated_and_said_so() {
    let (backend, gateway) = rig().await;
    let text = "word ".repeat(4000);
    let more = json!({"messages": [{"role": "user", "content": text}]});
    for (script, estimated) in [
        (Script::json(200, &json!({"input_tokens": 4321})), false),
        (Script::json(404, &json!({"detail": "Not Found"})), true),
        (
            Script::json(405, &json!({"detail": "Method Not Allowed"})),
            true,
        ),
        (
            Script::json(501, &json!({"error": {"message": "not here"}})),
            true,
        ),
    ] {
        backend.next(script);
        let answer = gateway
            .call(&gateway.request("messages/count_tokens", "m", &more))
            .await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let body = answer.json();
        let told = body["input_tokens"].as_u64().unwrap();
        match estimated {
            true => assert!((4000..8000).contains(&told), "{told}"),
            false => assert_eq!(told, 4321),
        }
        assert_eq!(body["estimated"] == true, estimated, "{body}");
        assert_eq!(answer.header("x-ostia-estimated").is_some(), estimated);
    }
    backend.next(Script::json(400, &json!({"error": {"message": "bad"}})));
    let refused = gateway
        .call(&gateway.request("messages/count_tokens", "m", &more))
        .await;
    assert_eq!(refused.status(), 400);
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (row.total_tokens, &*row.usage_source),
            (0, "none"),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_said_in_anthropic_s_words_where_the_entry_wants_it() {
    let sentence = "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens.";
    let vllm = json!({"error": {"message": sentence, "type": "BadRequestError", "param": null, "code": 400}});
    for rewrites in [false, true] {
        let (backend, gateway) = match rewrites {
            true => rig_of("rewrite_context_error").await,
            false => rig().await,
        };
        for stream in [false, true] {
            backend.next(Script::json(400, &vllm));
            let request = gateway.request("messages", "m", &json!({"stream": stream}));
            let answer = gateway.call(&request).await;
            let body = answer.json();
            assert_eq!(
                (answer.status(), &body["error"]["type"]),
                (400, &json!("invalid_request_error"))
            );
            let told = match rewrites {
                true => "prompt is too long: 9000 tokens > 8192 maximum",
                false => sentence,
            };
            assert_eq!(body["error"]["message"], told);
        }
        backend.next(Script::json(400, &vllm));
        let chat = gateway.call(&gateway.chat("m")).await;
        assert_eq!(chat.json()["error"]["message"], sentence);
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn the_block_in_which_requests_are_counted_is_left_out_where_the_entry_wants_it() {
    let rest =
        r#"{"type":"text","text":"You are Claude Code","cache_control":{"type":"ephemeral"}}"#;
    let count =
        r#"{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1; cch=0a1b2;"}"#;
    let body = |system: &str| {
        format!(
            r#"{{"model":"m","max_tokens":5,"messages":[{{"role":"user","content":"hi"}}],"system":{system},"x":1}}"#
        )
    };
    let other = r#"[{"type":"text","text":"say x-anthropic-billing-header: to me"}]"#;
    for strips in [false, true] {
        let (backend, gateway) = match strips {
            true => rig_of("strip_billing_header").await,
            false => rig().await,
        };
        let bearer = gateway.site().secrets.client_bearer();
        for (sent, stripped) in [
            (format!("[{count},{rest}]"), format!("[{rest}]")),
            (format!("[ {count} , {rest}]"), format!("[{rest}]")),
            (format!("[{count}]"), "[]".to_owned()),
            (format!("[{rest},{count}]"), format!("[{rest},{count}]")),
            (other.to_owned(), other.to_owned()),
            (
                r#""x-anthropic-billing-header: as a text""#.to_owned(),
                r#""x-anthropic-billing-header: as a text""#.to_owned(),
            ),
        ] {
            let request = ostia_testkit::client::Request::post("/v1/messages?beta=true")
                .bearer(&bearer)
                .header("content-type", "application/json")
                .body(body(&sent));
            let answer = gateway.call(&request).await;
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let expected = body(if strips { &stripped } else { &sent });
            assert_eq!(backend.records().last().unwrap().received.body, expected);
        }
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn betas_thinking_and_signatures_pass_untouched() {
    let (backend, gateway) = rig().await;
    let body = r#"{ "model" : "m","max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":1024},"context_management":{"edits":[]},
        "messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln\/+=="},
        {"type":"tool_use","id":"t","name":"Bash","input":{"a":1.0}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t",
        "content":"ok","cache_control":{"type":"ephemeral","ttl":"1h"}}]}],"metadata":{"user_id":"u"}}"#;
    let request = ostia_testkit::client::Request::post("/v1/messages?beta=true")
        .bearer(&gateway.site().secrets.client_bearer())
        .header("content-type", "application/json")
        .header("anthropic-version", "2023-06-01")
        .header(
            "anthropic-beta",
            "claude-code-20250219,context-management-2025-06-27",
        )
        .header("anthropic-beta", "some-new-beta")
        .body(body);
    assert_eq!(gateway.call(&request).await.status(), 200);
    let records = backend.records();
    let received = &records[0].received;
    assert_eq!(received.body, body);
    let betas: Vec<&str> = received.head.fields.all("anthropic-beta").collect();
    assert_eq!(
        betas,
        [
            "claude-code-20250219,context-management-2025-06-27",
            "some-new-beta"
        ]
    );
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn long_prompts_with_many_tools_go_through_by_default() {
    let (backend, gateway) = rig().await;
    let tools: Vec<_> = (0..200)
        .map(|n| json!({"name": format!("tool_{n}"), "description": "d".repeat(2000), "input_schema": {"type": "object",
            "properties": {"path": {"type": "string"}, "options": {"type": "object", "properties": {"deep": {"type": "array"}}}}}}))
        .collect();
    let turns: Vec<_> = (0..600)
        .map(|n| json!({"role": if n % 2 == 0 { "user" } else { "assistant" }, "content": [{"type": "text", "text": "x".repeat(5000)}]}))
        .collect();
    let more = json!({"messages": turns, "tools": tools, "max_tokens": 32000});
    let request = gateway.request("messages", "m", &more);
    assert!(request.bytes().len() > 3_400_000);
    let answer = gateway.call(&request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(backend.records()[0].received.body.len() > 3_400_000);
    gateway.finish(&[&backend]).await;
}
