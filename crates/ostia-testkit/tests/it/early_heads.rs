//! Streams whose head is sent before the backend's: comments, then the answer or an error event.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Ended, HangUp, RawClient, Reading, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use crate::common::{chat_stream_of, rig_with, told};

const COMMENT: &str = ": keep-alive\n";
const SOON: &str = "[upstream]\nsend_headers_after = \"20ms\"\nkeepalive_comment = \"20ms\"";

/// Sends a request and waits for the head and two comments.
async fn begun(gateway: &TestGateway, request: &Request) -> (RawClient, Reading) {
    let mut client = gateway.client().await;
    client.send(request.bytes()).await;
    let mut reading = client.begin().await.unwrap();
    assert_eq!(reading.status(), 200);
    let kind = reading.head.fields.first("content-type");
    assert!(
        kind.is_some_and(|kind| kind.starts_with("text/event-stream")),
        "{kind:?}"
    );
    assert_eq!(reading.head.fields.first("x-accel-buffering"), Some("no"));
    assert!(reading.head.fields.first("x-request-id").is_some());
    client
        .until(&mut reading, COMMENT.repeat(2).as_bytes())
        .await;
    (client, reading)
}

/// What follows the comments.
fn behind_comments(text: &str) -> String {
    text.replace(COMMENT, "")
}

#[tokio::test]
async fn a_long_prefill_is_no_silence_and_the_answer_follows_as_it_came() {
    let (backend, gateway) = rig_with(SOON).await;
    let gate = Gate::closed();
    let events = chat_stream_of(3);
    backend.next(Script::events(events.clone()).gate_head(&gate));
    let (mut client, reading) = begun(&gateway, &gateway.chat_stream("m")).await;
    gate.open();
    let answer = client.rest(reading).await;
    assert_eq!(answer.ended, Ended::Complete);
    assert_eq!(behind_comments(&answer.text()), events.concat());
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        (told(&rows[0]), rows[0].http_status),
        (("ok", "done", ""), 200)
    );
}

#[tokio::test]
async fn what_fails_behind_the_head_is_an_error_event_with_its_cause_in_the_row() {
    let full = json!({"error": {"message": "too many\nrequests", "type": "x", "code": "slow_down", "param": null}});
    let wrong =
        json!({"error": {"message": "no such tool", "type": "x", "code": null, "param": "tools"}});
    for (script, code, status, message) in [
        (
            Script::json(429, &full),
            "rate_limit_exceeded",
            429,
            "too many\nrequests (server error)",
        ),
        (
            Script::json(400, &wrong),
            "invalid_value",
            400,
            "no such tool",
        ),
        (
            Script::json(500, &wrong),
            "upstream_invalid",
            500,
            "(server error)",
        ),
        (
            Script::json(401, &wrong),
            "upstream_auth",
            401,
            "the gateway's operators must fix that.",
        ),
    ] {
        for (api, named) in [
            ("chat/completions", false),
            ("messages", true),
            ("responses", true),
        ] {
            let (backend, gateway) = rig_with(SOON).await;
            let gate = Gate::closed();
            backend.next(script.clone().gate_head(&gate));
            let request = gateway.request(api, "m", &json!({"stream": true}));
            let (mut client, reading) = begun(&gateway, &request).await;
            gate.open();
            let answer = client.rest(reading).await;
            // No client takes it for complete.
            assert_eq!(answer.ended, Ended::Fin, "{api} {code}");
            let text = behind_comments(&answer.text());
            assert_eq!(text.starts_with("event: error\n"), named, "{text}");
            let data = text
                .lines()
                .find_map(|line| line.strip_prefix("data: "))
                .unwrap();
            let event: Value = serde_json::from_str(data).unwrap();
            let said = event["error"]["message"].as_str().unwrap();
            assert!(said.ends_with(message), "{api} {code}: {said}");
            if api == "messages" {
                assert_eq!(event["type"], "error");
            }
            let rows = gateway.finish(&[&backend]).await;
            let row = &rows[0];
            assert_eq!((row.http_status, &*row.error_code), (200, code), "{api}");
            assert_eq!(
                (row.upstream_status, &*row.outcome),
                (status, "upstream_error"),
                "{api}"
            );
        }
    }
}

#[tokio::test]
async fn the_queue_is_no_silence_either() {
    let first = FakeBackend::start().await;
    let site = Site::new()
        .endpoint(
            Endpoint::of("m", &first)
                .on("lab", "vllm")
                .config("max_in_flight", json!(1))
                .config("priority", json!(1)),
        )
        .settings(SOON)
        .settings("[limits]\nqueue_timeout = \"60s\"");
    let gateway = TestGateway::start(site).await;
    let gate = Gate::closed();
    first.next(Script::events(chat_stream_of(1)).gate_head(&gate));
    let held = begun(&gateway, &gateway.chat_stream("m")).await;
    // This request waits for its turn.
    let (mut client, reading) = begun(&gateway, &gateway.chat_stream("m")).await;
    assert_eq!(first.records().len(), 1);
    gate.open();
    let (mut holder, holding) = held;
    assert_eq!(holder.rest(holding).await.ended, Ended::Complete);
    let answer = client.rest(reading).await;
    assert_eq!(answer.ended, Ended::Complete);
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    gateway.finish(&[&first]).await;
}

#[tokio::test]
async fn a_hang_up_behind_the_head_ends_the_engine_s_work() {
    let (backend, gateway) = rig_with(SOON).await;
    backend.next(Script::events(chat_stream_of(1)).gate_head(&Gate::closed()));
    let (client, _) = begun(&gateway, &gateway.chat_stream("m")).await;
    client.hang_up(HangUp::Fin).await;
    backend.aborts(1).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        (&*rows[0].outcome, rows[0].http_status),
        ("client_closed", 200)
    );
}

#[tokio::test]
async fn who_asked_for_no_stream_gets_no_early_head() {
    let (backend, gateway) = rig_with(SOON).await;
    let gate = Gate::closed();
    backend.next(Script::json(429, &json!({"error": {"message": "x"}})).gate_head(&gate));
    // The other stream has its head, so the time is up.
    backend.next(Script::events(chat_stream_of(1)).gate_head(&gate));
    let mut plain = gateway.client().await;
    plain.send(gateway.chat("m").bytes()).await;
    backend.requests(1).await;
    let (mut client, reading) = begun(&gateway, &gateway.chat_stream("m")).await;
    gate.open();
    assert_eq!(client.rest(reading).await.ended, Ended::Complete);
    assert_eq!(plain.answer().await.status(), 429);
    gateway.finish(&[&backend]).await;
}
