//! Answers that repeat a long prompt: more than the gateway holds of one event or one answer.

use ostia_testkit::backend::{Cuts, Script};
use ostia_testkit::client::Ended;
use serde_json::{Value, json};

use crate::common::{DONE, rig};

const LONG: usize = 300_000;

/// `last`: whether the prompt comes after everything else.
fn response(id: &str, last: bool) -> String {
    let echo = format!(
        r#""instructions":"{}""#,
        "\\n\\\"usage\\\"".repeat(LONG / 11)
    );
    let told = format!(
        r#""id":"{id}","object":"response","usage":{{"input_tokens":90000,"output_tokens":3,"total_tokens":90003}}"#
    );
    match last {
        true => format!("{{{told},{echo}}}"),
        false => format!("{{{echo},{told}}}"),
    }
}

fn events(id: &str, last: bool) -> Vec<String> {
    let event = |kind: &str, data: String| format!("event: {kind}\r\ndata: {data}\r\n\r\n");
    let long = |kind: &str| {
        let response = response(id, last);
        let data = match last {
            true => format!(r#"{{"type":"{kind}","response":{response}}}"#),
            false => format!(r#"{{"response":{response},"sequence_number":1,"type":"{kind}"}}"#),
        };
        event(kind, data)
    };
    let delta: Value = json!({"type": "response.output_text.delta", "delta": "hi"});
    vec![
        long("response.created"),
        long("response.in_progress"),
        event("response.output_text.delta", delta.to_string()),
        long("response.completed"),
    ]
}

#[tokio::test]
async fn a_response_that_gives_a_long_prompt_back_is_read_to_its_usage() {
    let (backend, gateway) = rig().await;
    let mut made = 0;
    for last in [true, false] {
        for cuts in [Cuts::Whole, Cuts::Every(1_000), Cuts::Every(65_537)] {
            made += 1;
            let id = format!("resp_{made}");
            let events = events(&id, last);
            backend.next(Script::events(events.clone()).cut_body(cuts.clone()));
            let asked = gateway.request("responses", "m", &json!({"stream": true}));
            let answer = gateway.call(&asked).await;
            assert_eq!(answer.ended, Ended::Complete, "{id}");
            assert!(answer.body == events.concat().as_bytes(), "{id}");
            let plain_id = format!("{id}_plain");
            let plain = Script::raw(200, response(&plain_id, last))
                .header("content-type", "application/json")
                .cut_body(cuts);
            backend.next(plain);
            let answer = gateway
                .call(&gateway.request("responses", "m", &json!({})))
                .await;
            assert_eq!(answer.ended, Ended::Complete, "{plain_id}");
            assert!(
                answer.body == response(&plain_id, last).as_bytes(),
                "{plain_id}: {}",
                answer.text().chars().take(500).collect::<String>()
            );
            for id in [id, plain_id] {
                backend.next(
                    Script::raw(200, response("x", last))
                        .header("content-type", "application/json"),
                );
                let more = json!({"previous_response_id": id});
                let answer = gateway
                    .call(&gateway.request("responses", "m", &more))
                    .await;
                assert_eq!(answer.status(), 200, "{id}: {}", answer.text());
            }
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), 4 * made);
    for row in rows {
        assert_eq!(
            (&*row.outcome, &*row.phase, &*row.usage_source),
            ("ok", "done", "upstream")
        );
        assert_eq!((row.tokens.prompt, row.tokens.completion), (90_000, 3));
    }
}

#[tokio::test]
async fn long_events_of_other_dialects_are_read_to_their_usage() {
    let (backend, gateway) = rig().await;
    let long = "x".repeat(LONG);
    let chat = [
        format!(
            "data: {{\"choices\":[{{\"delta\":{{}}}}],\"prompt_token_ids\":[{}1]}}\n\n",
            "1,".repeat(LONG)
        ),
        format!(
            "data: {{\"choices\":[],\"echo\":\"{long}\",\"usage\":{{\"prompt_tokens\":90000,\"completion_tokens\":3}}}}\n\n"
        ),
        DONE.to_owned(),
    ];
    let messages = [
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"echo\":\"{long}\",\"usage\":{{\"input_tokens\":90000,\"output_tokens\":1}}}}}}\n\n"
        ),
        format!(
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"echo\":\"{long}\",\"usage\":{{\"output_tokens\":3}}}}\n\n"
        ),
        format!("event: message_stop\ndata: {{\"echo\":\"{long}\",\"type\":\"message_stop\"}}\n\n"),
    ];
    for (api, events) in [("chat/completions", chat), ("messages", messages)] {
        for cuts in [Cuts::Whole, Cuts::Every(1_000), Cuts::Every(65_537)] {
            backend.next(Script::events(events.clone()).cut_body(cuts));
            let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
            let answer = gateway.call(&gateway.request(api, "m", &asked)).await;
            assert_eq!(answer.ended, Ended::Complete, "{api}");
            assert!(answer.body == events.concat().as_bytes(), "{api}");
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, &*row.usage_source),
            ("ok", "upstream"),
            "{row:?}"
        );
        assert_eq!((row.tokens.prompt, row.tokens.completion), (90_000, 3));
    }
}
