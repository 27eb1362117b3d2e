//! The same prompt costs the same in every dialect, and no client sees what only the gateway asked for (R44).

use std::collections::BTreeSet;

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{Answer, Ended};
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::{Value, json};

fn variants(api: &str) -> Vec<Value> {
    let mut variants = vec![json!({})];
    if api != "embeddings" {
        variants.extend([json!({"stream": false}), json!({"stream": true})]);
    }
    if api.ends_with("completions") {
        variants.push(json!({"stream": true, "stream_options": {"include_usage": true}}));
        variants.push(json!({"stream": true, "stream_options": {"include_usage": false}}));
        variants.push(json!({"stream": true, "stream_options": {}}));
        variants.push(json!({"stream": true, "stream_options": null}));
    }
    variants
}

#[tokio::test]
async fn every_route_and_form_counts_the_same_tokens() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().chunks(7).prompt_tokens(23, 0));
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let apis = [
        "chat/completions",
        "completions",
        "embeddings",
        "responses",
        "messages",
    ];
    let mut expected = 0;
    for api in apis {
        for more in variants(api) {
            for path in [
                "/v1/",
                "/lab/vllm/v1/",
                "/resource_server/v1/",
                "/resource_server/lab/vllm/v1/",
            ] {
                let bytes = gateway.request(api, "m", &more).bytes();
                let text = String::from_utf8_lossy(&bytes).replacen("/v1/", path, 1);
                let mut client = gateway.client().await;
                client.send(text).await;
                let answer = client.answer().await;
                assert_eq!(
                    (answer.status(), &answer.ended),
                    (200, &Ended::Complete),
                    "{api} {more} {path}"
                );
                expected += 1;
            }
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), expected);
    for row in &rows {
        let completion = if row.api == "embeddings" { 0 } else { 7 };
        assert_eq!(
            (row.tokens.prompt, row.tokens.completion),
            (23, completion),
            "{row:?}"
        );
        assert_eq!(
            (&*row.usage_source, &*row.outcome, row.total_tokens),
            ("upstream", "ok", 23 + completion),
            "{row:?}"
        );
    }
    let named: BTreeSet<&str> = rows.iter().map(|row| &*row.api).collect();
    assert_eq!(named, apis.into());
}

/// The chunks of a stream, apart from what always differs (ids, times).
fn events(answer: &Answer) -> Vec<String> {
    answer
        .events()
        .into_iter()
        .map(|event| event.data)
        .collect()
}

#[tokio::test]
async fn who_does_not_ask_for_usage_sees_none_and_all_else_as_it_was() {
    for api in ["chat/completions", "completions"] {
        let backend = FakeBackend::start().await;
        let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
        let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
        let asked = gateway.call(&gateway.request(api, "m", &asked)).await;
        let with: Vec<String> = events(&asked);
        let usage = |event: &String| event.contains("\"usage\":{");
        assert_eq!(with.iter().filter(|event| usage(event)).count(), 1, "{api}");
        for options in [json!(null), json!({}), json!({"include_usage": false})] {
            let more = json!({"stream": true, "stream_options": options});
            let unasked = gateway.call(&gateway.request(api, "m", &more)).await;
            let without: Vec<String> = with
                .iter()
                .filter(|event| !usage(event))
                .map(|event| bare(event))
                .collect();
            let seen: Vec<String> = events(&unasked).iter().map(|event| bare(event)).collect();
            assert_eq!(seen, without, "{api} {options}");
            assert!(!unasked.text().contains("usage"), "{}", unasked.text());
        }
        gateway.finish(&[&backend]).await;
    }
}

/// An event without its id, and without `"usage":null`, which backends add to every chunk when usage is asked for.
fn bare(event: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(event) else {
        return event.to_owned();
    };
    if let Some(fields) = value.as_object_mut() {
        fields.remove("id");
        if fields.get("usage") == Some(&Value::Null) {
            fields.remove("usage");
        }
    }
    value.to_string()
}

/// What a backend does not report is estimated, and the row says so.
#[tokio::test]
async fn without_usage_from_the_backend_the_row_says_estimated() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().usage(ostia_testkit::backend::UsageShape::Absent));
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    for api in ["chat/completions", "completions"] {
        for stream in [false, true] {
            let more = json!({"stream": stream, "stream_options": null});
            assert_eq!(
                gateway
                    .call(&gateway.request(api, "m", &more))
                    .await
                    .status(),
                200
            );
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    for row in rows {
        assert_eq!(
            (&*row.outcome, &*row.usage_source),
            ("ok", "estimated"),
            "{row:?}"
        );
        assert!(
            row.tokens.prompt > 0 && row.total_tokens == row.tokens.prompt + row.tokens.completion,
            "{row:?}"
        );
    }
}
