//! The ledger's tokens, whatever a backend reports (R51).

use ostia_testkit::backend::{Script, UsageShape};
use ostia_testkit::client::Ended;
use ostia_testkit::gateway::Row;
use serde_json::{Value, json};

use crate::common::rig;

const STREAMED: [&str; 4] = ["chat/completions", "completions", "messages", "responses"];

fn odd() -> Vec<UsageShape> {
    let values = [
        Value::Null,
        json!("lots"),
        json!([1, 2]),
        json!({}),
        json!({"prompt_tokens": -1, "completion_tokens": 3, "input_tokens": -1, "output_tokens": 3}),
        json!({"prompt_tokens": 11, "completion_tokens": 1_u64 << 63, "input_tokens": 11, "output_tokens": 1_u64 << 63}),
        json!({"prompt_tokens": "eleven", "completion_tokens": "3", "input_tokens": "eleven", "output_tokens": "3"}),
        json!({"prompt_tokens": 1e300, "completion_tokens": 3, "input_tokens": 1e300, "output_tokens": 3}),
    ];
    values.map(UsageShape::Odd).into()
}

fn reported(row: &Row) -> (u64, u64, u64, &str) {
    let tokens = row.tokens;
    (
        tokens.prompt,
        tokens.completion,
        row.total_tokens,
        &row.usage_source,
    )
}

#[tokio::test]
async fn the_last_sound_usage_counts_wherever_it_stands() {
    let (backend, gateway) = rig().await;
    let shapes = [
        UsageShape::AsAsked,
        UsageShape::Always,
        UsageShape::Twice,
        UsageShape::EveryChunk,
        UsageShape::WithFinish,
        UsageShape::AfterDone,
    ];
    for shape in shapes {
        for api in STREAMED {
            backend.next(
                Script::completion()
                    .usage(shape.clone())
                    .prompt_tokens(11, 4),
            );
            let request = gateway.request(api, "m", &json!({"stream": true}));
            let answer = gateway.call(&request).await;
            assert_eq!(answer.ended, Ended::Complete, "{api} {shape:?}");
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(reported(&row), (11, 3, 14, "upstream"), "{row:?}");
        assert_eq!(row.tokens.cached, 4, "{row:?}");
    }
}

#[tokio::test]
async fn nonsense_is_passed_on_and_not_believed() {
    let (backend, gateway) = rig().await;
    let mut shapes = odd();
    shapes.push(UsageShape::Absent);
    for shape in &shapes {
        for api in STREAMED {
            for stream in [true, false] {
                backend.next(Script::completion().usage(shape.clone()));
                let request = gateway.request(api, "m", &json!({"stream": stream}));
                let answer = gateway.call(&request).await;
                assert_eq!(
                    (answer.status(), &answer.ended),
                    (200, &Ended::Complete),
                    "{api} {shape:?}"
                );
            }
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(row.outcome, "ok", "{row:?}");
        // Anthropic reports the prompt first, correctly.
        let told_before = row.api == "messages" && row.stream;
        assert!(row.usage_source == "estimated" || told_before, "{row:?}");
        assert!(
            row.tokens.prompt > 0 && row.total_tokens < 1 << 20,
            "{row:?}"
        );
        assert!(
            !row.stream || row.tokens.completion >= 3 || told_before,
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn the_same_prompt_costs_the_same_streamed_or_not_asked_or_not() {
    let (backend, gateway) = rig().await;
    for api in STREAMED {
        for more in [
            json!({}),
            json!({"stream": true}),
            json!({"stream": true, "stream_options": {"include_usage": true}}),
            json!({"stream": true, "stream_options": {"include_usage": false}}),
            json!({"stream": true, "stream_options": null}),
        ] {
            let answer = gateway.call(&gateway.request(api, "m", &more)).await;
            assert_eq!(answer.status(), 200, "{api} {more}: {}", answer.text());
            let asked = more["stream_options"]["include_usage"] == true;
            let hidden = more["stream"] == true && api.ends_with("completions") && !asked;
            assert_eq!(answer.text().contains("\"usage\""), !hidden, "{api} {more}");
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(reported(&row), (11, 3, 14, "upstream"), "{row:?}");
    }
}

/// A plain answer without usage is measured by its text, whether or not it was held.
#[tokio::test]
async fn plain_answers_without_usage_are_estimated_by_their_text() {
    let (backend, gateway) = rig().await;
    for length in [400, 400_000] {
        let choice =
            json!({"index": 0, "message": {"role": "assistant", "content": "x".repeat(length)}});
        let answer = json!({"id": "c", "object": "chat.completion", "choices": [choice]});
        backend.next(Script::json(200, &answer));
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.ended, Ended::Complete);
    }
    let rows = gateway.finish(&[&backend]).await;
    for (row, least) in rows.iter().zip([100, 100_000]) {
        let completion = row.tokens.completion;
        assert!(
            (least..least + 50).contains(&completion),
            "{least}: {row:?}"
        );
        assert_eq!((&*row.outcome, &*row.usage_source), ("ok", "estimated"));
        assert_eq!(row.total_tokens, row.tokens.prompt + completion);
    }
}
