//! A backend that dies within a stream: all complete events that it sent, one error event, and a broken end (R47).

use ostia_testkit::backend::{Break, FakeBackend, Script, Step};
use ostia_testkit::client::{Answer, Ended, RawClient};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::TestGateway;
use serde_json::{Value, json};

use crate::common::{DONE, assert_error, chat_event, chat_events, chat_stream_of, rig, told};

const ENDINGS: [Break; 4] = [
    Break::Reset,
    Break::Fin,
    Break::ShortLength,
    Break::BadChunk,
];

fn code_of(how: Break) -> &'static str {
    match how {
        Break::BadChunk => "upstream_invalid",
        Break::Stall => "upstream_timeout",
        _ => "upstream_closed",
    }
}

/// All of `events`, then one error event and nothing after it; then the connection breaks.
fn assert_broken(answer: &Answer, events: &[String], code: &str, what: &str) {
    let text = answer.text();
    let sent = events.concat();
    let rest = text.strip_prefix(&sent);
    let rest = rest.unwrap_or_else(|| panic!("{what}: {text:?} does not begin with {sent:?}"));
    assert!(!text.contains(DONE.trim()), "{what}: {text}");
    let event = rest
        .strip_prefix("data: ")
        .and_then(|rest| rest.strip_suffix("\n\n"));
    let event: Value = serde_json::from_str(event.unwrap_or_default())
        .unwrap_or_else(|error| panic!("{what}: {error} in {rest:?}"));
    assert_eq!(event["error"]["code"], code, "{what}: {event}");
    assert!(event["error"]["message"].is_string(), "{what}: {event}");
    assert_eq!(answer.ended, Ended::Fin, "{what}");
}

async fn call(gateway: &TestGateway, backend: &FakeBackend, script: Script) -> Answer {
    backend.next(script);
    gateway.call(&gateway.chat_stream("m")).await
}

#[tokio::test]
async fn whole_events_then_one_error_event_then_a_broken_end_every_time() {
    let (backend, gateway) = rig().await;
    let events = chat_stream_of(6);
    let mut expected = Vec::new();
    for round in 0..5 {
        for (how, k) in ENDINGS
            .iter()
            .flat_map(|how| (0..=5).map(move |k| (*how, k)))
        {
            let what = format!("{how:?} after {k}, round {round}");
            let script = Script::events(events.clone()).break_after(k, how);
            let answer = call(&gateway, &backend, script).await;
            match k {
                0 => assert_error(&answer, 502, "upstream_error", code_of(how), &what),
                _ => assert_broken(&answer, &events[..k], code_of(how), &what),
            }
            expected.push((k, how));
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 120);
    for (row, (k, how)) in rows.iter().zip(expected) {
        assert_eq!(
            (&*row.outcome, &*row.error_code),
            ("upstream_error", code_of(how))
        );
        assert!(row.tokens.completion >= k as u64, "{k}: {row:?}");
        let (status, source) = if k == 0 {
            (502, "none")
        } else {
            (200, "estimated")
        };
        assert_eq!(
            (row.http_status, &*row.usage_source),
            (status, source),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn an_unfinished_event_is_dropped() {
    let (backend, gateway) = rig().await;
    for how in ENDINGS {
        let mut events = chat_stream_of(2);
        let whole = events.clone();
        events.truncate(2);
        events.push("data: {\"choices\":[{\"delta\":{\"cont".to_owned());
        events.push(DONE.to_owned());
        let script = Script::events(events).break_after(3, how);
        let answer = call(&gateway, &backend, script).await;
        assert_broken(&answer, &whole[..2], code_of(how), &format!("{how:?}"));
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_slow_reader_gets_every_event_that_came_before_the_end() {
    let (backend, gateway) = rig().await;
    let events: Vec<_> = (0..6)
        .map(|n| chat_event(&format!("{n}{}", "x".repeat(60_000))))
        .collect();
    for how in ENDINGS {
        for k in [1, 3, 5] {
            backend.next(Script::events(events.clone()).break_after(k, how));
            let mut client = RawClient::connect_narrow(gateway.address()).await;
            let seen = backend.records().len();
            client.send(gateway.chat_stream("m").bytes()).await;
            // The client reads nothing before the backend is dead.
            backend.ended(seen + 1).await;
            let answer = client.answer().await;
            // A reset discards what is still in the kernels' buffers. So only a prefix of complete events is promised.
            let came = match how {
                Break::Reset => answer.events().len() - 1,
                _ => k,
            };
            let what = format!("{how:?} after {k}");
            assert!((1..=k).contains(&came), "{what}: {came}");
            assert_broken(&answer, &events[..came], code_of(how), &what);
        }
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn each_dialect_has_its_own_error_event() {
    let (backend, gateway) = rig().await;
    for api in ["messages", "responses", "completions"] {
        let gate = Gate::closed();
        backend.next(
            Script::completion()
                .break_after(3, Break::Fin)
                .gate_end(&gate),
        );
        let request = gateway.request(api, "m", &json!({"stream": true}));
        let mut client = gateway.client().await;
        client.send(request.bytes()).await;
        let mut reading = client.begin().await.unwrap();
        client.until(&mut reading, b"\n\n").await;
        gate.open();
        let answer = client.rest(reading).await;
        assert_eq!(answer.ended, Ended::Fin, "{api}");
        let last = answer.events().pop().unwrap();
        let data: Value = serde_json::from_str(&last.data).unwrap();
        let seen = match api {
            "messages" => (&*last.name, &data["error"]["code"], &data["type"]),
            "responses" => (&*last.name, &data["code"], &data["type"]),
            _ => (&*last.name, &data["error"]["code"], &data["error"]["type"]),
        };
        let (name, kind) = if api == "completions" {
            ("message", "upstream_error")
        } else {
            ("error", "error")
        };
        assert_eq!(
            seen,
            (name, &json!("upstream_closed"), &json!(kind)),
            "{api}: {data}"
        );
    }
    gateway.finish(&[&backend]).await;
}

/// An answer's last chunk.
fn finish(index: u64) -> String {
    let choice = json!({"index": index, "delta": {}, "finish_reason": "stop"});
    format!("data: {}\n\n", json!({"choices": [choice]}))
}

#[tokio::test]
async fn a_clean_end_without_a_terminal_event_is_broken_unless_the_answer_was_whole() {
    let (backend, gateway) = rig().await;
    let events = chat_events(3);
    let answer = call(&gateway, &backend, Script::events(events.clone())).await;
    assert_broken(&answer, &events, "truncated", "no finish_reason");
    // A backend that dies in the middle of an event, under `connection: close`.
    let cut = format!("{}data: {{\"choices\":[{{\"del", events.concat());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let script = Script::steps([Step::Write(format!("{head}{cut}").into())]).close();
    let answer = call(&gateway, &backend, script).await;
    assert_broken(&answer, &events, "truncated", "connection: close");

    let whole = [events.clone(), vec![finish(0)]].concat();
    let answer = call(&gateway, &backend, Script::events(whole.clone())).await;
    assert_eq!(
        (answer.text(), &answer.ended),
        (whole.concat(), &Ended::Complete)
    );
    let two = gateway.request("chat/completions", "m", &json!({"stream": true, "n": 2}));
    backend.next(Script::events(whole.clone()));
    let answer = gateway.call(&two).await;
    assert_broken(&answer, &whole, "truncated", "one of two");
    let both = [whole, vec![finish(1)]].concat();
    backend.next(Script::events(both.clone()));
    let answer = gateway.call(&two).await;
    assert_eq!(
        (answer.text(), &answer.ended),
        (both.concat(), &Ended::Complete)
    );
    let rows = gateway.finish(&[&backend]).await;
    let truncated = ("upstream_error", "truncated", "truncated");
    let ok = ("ok", "done", "");
    let expected = [truncated, truncated, ok, truncated, ok];
    assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_other_dialects_know_a_whole_answer_too() {
    let (backend, gateway) = rig().await;
    let event = |data: Value| {
        format!(
            "event: {}\ndata: {data}\n\n",
            data["type"].as_str().unwrap()
        )
    };
    let delta = event(json!({"type": "content_block_delta", "delta": {"text": "hi"}}));
    let stop = event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));
    let begun =
        event(json!({"type": "response.in_progress", "response": {"status": "in_progress"}}));
    for (api, events, whole) in [
        ("messages", vec![delta.clone(), stop], true),
        ("messages", vec![delta], false),
        ("responses", vec![begun], false),
    ] {
        backend.next(Script::events(events));
        let answer = gateway
            .call(&gateway.request(api, "m", &json!({"stream": true})))
            .await;
        let last = answer.events().pop().unwrap();
        assert_eq!(
            (last.name == "error", answer.ended == Ended::Complete),
            (!whole, whole),
            "{api}"
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    let phases: Vec<_> = rows
        .iter()
        .map(|row| (&*row.outcome, &*row.phase))
        .collect();
    let truncated = ("upstream_error", "truncated");
    assert_eq!(phases, [("ok", "done"), truncated, truncated]);
}

#[tokio::test]
async fn an_end_alone_or_an_error_is_no_answer() {
    let (backend, gateway) = rig().await;
    let answer = call(&gateway, &backend, Script::events([DONE])).await;
    assert_error(&answer, 502, "upstream_error", "upstream_invalid", "[DONE]");
    let error = "data: {\"object\":\"error\",\"message\":\"no\",\"code\":500}\n\n";
    let answer = call(&gateway, &backend, Script::events([error, DONE])).await;
    assert_eq!(answer.text(), format!("{error}{DONE}"));
    let rows = gateway.finish(&[&backend]).await;
    let outcomes: Vec<_> = rows.iter().map(|row| &*row.outcome).collect();
    assert_eq!(outcomes, ["upstream_error", "upstream_error"]);
}

#[tokio::test]
async fn a_break_behind_the_terminal_event_harms_nobody() {
    let (backend, gateway) = rig().await;
    let events = chat_stream_of(3).concat();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    for end in ["", "zz\r\n"] {
        let message = format!("{head}{:x}\r\n{events}\r\n{end}", events.len());
        let script = Script::steps([Step::Write(message.into())]).close();
        let answer = call(&gateway, &backend, script).await;
        assert_eq!(
            (answer.text(), &answer.ended),
            (events.clone(), &Ended::Complete),
            "{end:?}"
        );
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(told(&row), ("ok", "done", ""));
    }
}

#[tokio::test]
async fn a_large_plain_answer_that_breaks_ends_broken() {
    let (backend, gateway) = rig().await;
    let body = format!("{{\"data\":[\"{}\"]}}", "x".repeat(600_000));
    let half = &body[..400_000];
    let framings = [
        (
            format!("content-length: {}\r\n\r\n{half}", body.len()),
            Step::Fin,
        ),
        (
            format!("content-length: {}\r\n\r\n{half}", body.len()),
            Step::Reset,
        ),
        (
            format!(
                "transfer-encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n",
                half.len()
            ),
            Step::Fin,
        ),
        (
            format!(
                "transfer-encoding: chunked\r\n\r\n{:x}\r\n{half}\r\nzz\r\n",
                half.len()
            ),
            Step::Silence,
        ),
    ];
    for (what, (rest, end)) in framings.into_iter().enumerate() {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let gate = Gate::closed();
        backend.next(Script::steps([
            Step::Write(format!("{head}{rest}").into()),
            Step::Pass(gate.clone()),
            Step::Spoilt,
            end,
        ]));
        let mut client = gateway.client().await;
        let request = gateway.request("embeddings", "m", &json!({}));
        client.send(request.bytes()).await;
        let mut reading = client.begin().await.unwrap();
        let mut came = Vec::new();
        while came.len() < half.len() {
            came.extend_from_slice(&client.piece(&mut reading).await.unwrap().unwrap());
        }
        gate.open();
        let rest = client.rest(reading).await;
        assert_eq!(
            (rest.status(), &rest.ended, rest.body.len()),
            (200, &Ended::Fin, 0),
            "case {what}"
        );
        assert!(came == half.as_bytes(), "case {what}");
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, &*row.phase),
            ("upstream_error", "streaming"),
            "{row:?}"
        );
    }
}
