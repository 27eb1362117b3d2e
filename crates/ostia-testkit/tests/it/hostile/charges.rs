//! Requests that end after dispatch: the prompt counts from the first byte sent, unless the backend itself fails before
//! any output (R45, R52).

use std::sync::Arc;

use ostia_testkit::backend::{FakeBackend, Script, Step};
use ostia_testkit::client::{HangUp, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Row, Site, TestGateway};
use serde_json::{Value, json};

use crate::rate::clock;

/// By the estimate of four bytes per token; `user` is one token.
const PROMPT: u64 = 1_000;

fn prompt(gateway: &TestGateway, more: Value) -> Request {
    let content = "x".repeat(4 * PROMPT as usize - 4);
    let mut body = json!({"messages": [{"role": "user", "content": content}], "max_tokens": 1});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    gateway.request("chat/completions", "m", &body)
}

async fn rig(settings: &str, config: &[(&str, Value)]) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let mut endpoint = Endpoint::of("m", &backend).field("tpm_user", json!(3_100));
    for (key, value) in config {
        endpoint = endpoint.config(key, value.clone());
    }
    let site = Site::new().endpoint(endpoint).settings(settings);
    let gateway = TestGateway::start_at(site, Arc::clone(&clock()) as _).await;
    (backend, gateway)
}

fn assert_charged(row: &Row, outcome: &str, phase: &str, least: u64) {
    let told = (&*row.outcome, &*row.phase, &*row.usage_source);
    assert_eq!(told, (outcome, phase, "estimated"), "{row:?}");
    assert!(row.total_tokens >= least, "{row:?}");
}

fn assert_free(row: &Row, outcome: &str) {
    let told = (&*row.outcome, &*row.usage_source, row.total_tokens);
    assert_eq!(told, (outcome, "none", 0), "{row:?}");
}

#[tokio::test]
async fn whoever_hangs_up_before_the_first_byte_pays_for_the_prompt() {
    let (backend, gateway) = rig("", &[]).await;
    for (calls, stream) in [(1, false), (2, true), (3, false)] {
        backend.next(Script::silent());
        let mut client = gateway.client().await;
        client
            .send(prompt(&gateway, json!({"stream": stream})).bytes())
            .await;
        backend.requests(calls).await;
        client
            .hang_up([HangUp::Fin, HangUp::Reset][calls % 2])
            .await;
        backend.aborts(calls).await;
    }
    // Three prompts of 1,000 tokens use up 3,100.
    let answer = gateway.call(&prompt(&gateway, json!({}))).await;
    assert_eq!(answer.status(), 429, "{}", answer.text());
    assert_eq!(answer.error_code().as_deref(), Some("tokens"));
    let rows = gateway.finish(&[&backend]).await;
    let (refused, charged): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.http_status == 429);
    assert_eq!((refused.len(), charged.len()), (1, 3));
    for row in &charged {
        assert_charged(row, "client_closed", "waiting_headers", PROMPT);
    }
    assert_free(&refused[0], "rejected");
}

#[tokio::test]
async fn whoever_hangs_up_while_an_answer_comes_pays_for_the_prompt_and_what_came() {
    let (backend, gateway) = rig("", &[]).await;
    for (calls, stream) in [(1, true), (2, false)] {
        let gate = Gate::closed();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: ";
        let begun = match stream {
            true => format!("{head}text/event-stream\r\n\r\n: working\n\n"),
            false => format!("{head}application/json\r\ncontent-length: 90\r\n\r\n{{\"id\":"),
        };
        let steps = [Step::Write(begun.into()), Step::Pass(gate.clone())];
        backend.next(Script::steps(steps));
        let mut client = gateway.client().await;
        client
            .send(prompt(&gateway, json!({"stream": stream})).bytes())
            .await;
        backend.requests(calls).await;
        gate.reached(1).await;
        if stream {
            let mut reading = client.begin().await.unwrap();
            client.until(&mut reading, b"working\n\n").await;
        }
        client.hang_up(HangUp::Reset).await;
        backend.aborts(calls).await;
        gate.open();
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, &*row.usage_source),
            ("client_closed", "estimated")
        );
        assert!(row.total_tokens >= PROMPT, "{row:?}");
    }
}

/// Some engines report an empty prompt until they know better.
#[tokio::test]
async fn a_report_of_an_empty_prompt_does_not_make_it_free() {
    let (backend, gateway) = rig("", &[]).await;
    let nothing = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}});
    let events = [
        (
            "chat/completions",
            format!("data: {}\n\n", json!({"choices": [], "usage": nothing})),
        ),
        (
            "messages",
            format!("event: message_start\ndata: {start}\n\n"),
        ),
    ];
    for (calls, (api, event)) in (1..).zip(events) {
        let gate = Gate::closed();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        let steps = [
            Step::Write(format!("{head}{event}: working\n\n").into()),
            Step::Pass(gate.clone()),
        ];
        backend.next(Script::steps(steps));
        let content = "x".repeat(4 * PROMPT as usize - 4);
        let body = json!({"messages": [{"role": "user", "content": content}], "max_tokens": 1,
            "stream": true, "stream_options": {"include_usage": true}});
        let mut client = gateway.client().await;
        client.send(gateway.request(api, "m", &body).bytes()).await;
        gate.reached(1).await;
        let mut reading = client.begin().await.unwrap();
        client.until(&mut reading, b"working\n\n").await;
        client.hang_up(HangUp::Fin).await;
        backend.aborts(calls).await;
        gate.open();
    }
    for row in gateway.finish(&[&backend]).await {
        let told = (&*row.outcome, &*row.usage_source);
        assert_eq!(told, ("client_closed", "estimated"), "{row:?}");
        assert!(row.total_tokens >= PROMPT, "{row:?}");
    }
}

#[tokio::test]
async fn what_the_gateways_own_timers_end_costs_the_prompt() {
    let settings =
        "[upstream]\nresponse_header_timeout = \"100ms\"\nstream_idle_timeout = \"100ms\"";
    let (backend, gateway) = rig(settings, &[]).await;
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let gate = Gate::closed();
    let stalls = Script::steps([Step::Write(begun.into()), Step::Pass(gate.clone())]);
    for (script, stream) in [(Script::silent(), false), (stalls, true)] {
        backend.next(script);
        let answer = gateway
            .call(&prompt(&gateway, json!({"stream": stream})))
            .await;
        assert_eq!(answer.status(), 504, "{}", answer.text());
    }
    gate.open();
    for row in gateway.finish(&[&backend]).await {
        assert_charged(&row, "upstream_timeout", "waiting_headers", PROMPT);
    }
}

#[tokio::test]
async fn a_backend_that_fails_before_any_output_costs_nothing() {
    let settings = "[upstream]\nkeepalive_comment = \"20ms\"";
    let (backend, gateway) = rig(settings, &[]).await;
    let begun =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let comment = format!("{begun}b\r\n: working\n\n\r\n");
    let scripts = [
        (Script::raw(500, "x"), false),
        (Script::raw(200, ""), false),
        (Script::raw(400, r#"{"error":{"message":"no"}}"#), false),
        (Script::steps([Step::Write(begun.into())]).close(), true),
        // It sent a sign of work, and died.
        (Script::steps([Step::Write(comment.into())]).close(), true),
    ];
    let count = scripts.len();
    for (script, stream) in scripts {
        backend.next(script);
        let request = prompt(&gateway, json!({"stream": stream}));
        let mut client = gateway.client().await;
        client.send(request.bytes()).await;
        client.answer().await;
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), count);
    for row in rows {
        assert_free(&row, "upstream_error");
    }
}

#[tokio::test]
async fn splitting_a_text_costs_nothing_however_it_ends() {
    let (backend, gateway) = rig("", &[]).await;
    backend.next(Script::silent());
    let mut client = gateway.client().await;
    let body = json!({"prompt": "x".repeat(4_000)});
    client
        .send(gateway.request("tokenize", "m", &body).bytes())
        .await;
    backend.requests(1).await;
    client.hang_up(HangUp::Fin).await;
    backend.aborts(1).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_free(&rows[0], "client_closed");
}

#[tokio::test]
async fn an_answer_that_has_only_begun_is_never_ok() {
    let (backend, gateway) = rig("", &[("done_marker", json!(false))]).await;
    let events = |kinds: &[&str]| -> Vec<String> {
        let event = |kind: &&str| {
            let data = json!({"type": kind, "response": {"id": "r", "object": "response", "status": "queued"}});
            format!("event: {kind}\ndata: {data}\n\n")
        };
        kinds.iter().map(event).collect()
    };
    let whole = |more: Value| {
        let mut body = json!({"id": "r", "output": []});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        Script::json(200, &body)
    };
    let cases = [
        (
            whole(json!({"object": "response", "status": "queued"})),
            false,
        ),
        (
            whole(json!({"object": "response", "status": "in_progress"})),
            false,
        ),
        (whole(json!({"status": "queued"})), false),
        (
            Script::raw(200, r#"{"object":"response","status":"\u0071ueued"}"#),
            false,
        ),
        (
            Script::json(
                202,
                &json!({"id": "r", "object": "response", "status": "completed"}),
            ),
            false,
        ),
        (
            whole(json!({"object": "response", "status": "In_Progress"})),
            false,
        ),
        (
            Script::json(
                206,
                &json!({"id": "r", "object": "response", "status": "completed"}),
            ),
            false,
        ),
        (
            Script::events([
                events(&["response.queued"]).concat(),
                "data: [DONE]\n\n".to_owned(),
            ]),
            true,
        ),
        // It is named as final, and says that it is queued.
        (Script::events(events(&["response.completed"])), true),
        (
            Script::events(events(&["response.created", "response.queued"])),
            true,
        ),
        (
            Script::events(events(&["response.created", "response.in_progress"])),
            true,
        ),
    ];
    let count = cases.len();
    for (script, stream) in cases {
        backend.next(script);
        let body = json!({"input": "x", "stream": stream, "max_output_tokens": 1});
        let mut client = gateway.client().await;
        client
            .send(gateway.request("responses", "m", &body).bytes())
            .await;
        let answer = client.answer().await;
        assert!(
            ["upstream_invalid", "truncated"]
                .iter()
                .any(|code| answer.text().contains(code)),
            "{}",
            answer.text()
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), count);
    for row in rows {
        assert_eq!(row.outcome, "upstream_error", "{row:?}");
    }
}
