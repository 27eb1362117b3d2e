//! Every dialect end to end: its errors, its broken end, its usage, and bytes that pass unchanged.

use ostia_testkit::backend::{Break, FakeBackend, Script, ScriptFraming};
use ostia_testkit::client::{Ended, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Row, Site, TestGateway};
use serde_json::{Value, json};

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend).cluster(
        "lab",
        "openai_endpoints",
        json!([
            "chat/completions",
            "completions",
            "embeddings",
            "responses",
            "messages",
            "rerank",
            "score",
            "tokenize",
            "detokenize",
            "audio/*",
            "images/*"
        ]),
    );
    (backend, TestGateway::start(site).await)
}

fn tokens(row: &Row) -> (u64, u64, u64, &str) {
    (
        row.tokens.prompt,
        row.tokens.completion,
        row.total_tokens,
        &*row.usage_source,
    )
}

#[tokio::test]
async fn errors_on_messages_are_anthropics() {
    let (backend, gateway) = rig().await;
    let openai = json!({"error": {"message": "too long", "type": "BadRequestError", "code": 400, "param": null}});
    let anthropic = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}, "request_id": "r"});
    let cases = [
        (Script::json(400, &openai), 400, "invalid_request_error"),
        (Script::json(400, &anthropic), 400, "invalid_request_error"),
        (Script::json(404, &openai), 404, "not_found_error"),
        (
            Script::json(422, &json!({"detail": "no"})),
            422,
            "invalid_request_error",
        ),
        (Script::json(429, &openai), 429, "rate_limit_error"),
        (Script::json(503, &openai), 503, "overloaded_error"),
        (Script::json(401, &openai), 502, "api_error"),
        (Script::raw(500, "trace"), 502, "api_error"),
    ];
    for (script, status, word) in cases {
        for stream in [false, true] {
            backend.otherwise(script.clone());
            let answer = gateway
                .call(&gateway.request("messages", "m", &json!({"stream": stream})))
                .await;
            let body = answer.json();
            assert_eq!(answer.status(), status, "{body}");
            assert_eq!(
                (&body["type"], &body["error"]["type"]),
                (&json!("error"), &json!(word)),
                "{body}"
            );
            assert!(body["error"]["message"].is_string());
        }
    }
    backend.otherwise(Script::json(400, &anthropic));
    let verbatim = gateway
        .call(&gateway.request("messages", "m", &json!({})))
        .await;
    assert_eq!(verbatim.text(), anthropic.to_string());
    let ours = [
        (
            gateway.request("messages", "nothing", &json!({})),
            404,
            "not_found_error",
        ),
        (
            gateway.request("messages", "m", &json!({"stream": "yes"})),
            400,
            "invalid_request_error",
        ),
        (
            gateway
                .request("messages", "m", &json!({}))
                .without("authorization"),
            401,
            "authentication_error",
        ),
        (
            Request::get("/v1/messages").bearer(&gateway.site().secrets.client_bearer()),
            405,
            "invalid_request_error",
        ),
    ];
    for (request, status, word) in ours {
        let answer = gateway.call(&request).await;
        assert_eq!(
            (answer.status(), &answer.json()["error"]["type"]),
            (status, &json!(word))
        );
        assert_eq!(answer.json()["type"], "error");
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn anthropics_header_signs_in() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    let request = gateway.request("messages", "m", &json!({}));
    let request = request
        .without("authorization")
        .header("x-api-key", &bearer)
        .header("anthropic-version", "2023-06-01");
    assert_eq!(gateway.call(&request).await.status(), 200);
    let seen = &backend.records()[0].received;
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen.header("x-api-key"), None);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn broken_streams_end_in_the_words_of_their_dialect() {
    for api in ["chat/completions", "completions", "responses", "messages"] {
        let (backend, gateway) = rig().await;
        backend.otherwise(Script::broken_stream(4, Break::Fin).break_after(3, Break::Fin));
        let answer = gateway
            .call(&gateway.request(api, "m", &json!({"stream": true})))
            .await;
        assert_ne!(answer.ended, Ended::Complete, "{api}");
        let events = answer.events();
        let last = events.last().unwrap();
        let data: Value = serde_json::from_str(&last.data).unwrap();
        assert!(data["error"]["message"].is_string(), "{api}: {data}");
        assert!(!answer.text().contains("[DONE]"));
        let named = answer.text().contains("event: error\n");
        assert_eq!(named, matches!(api, "responses" | "messages"), "{api}");
        if named {
            assert_eq!(data["type"], "error", "{api}");
        }
        if api == "responses" {
            assert_eq!(data["sequence_number"], 3);
        }
        let rows = gateway.finish(&[&backend]).await;
        assert_eq!(
            (&*rows[0].outcome, &*rows[0].error_code),
            ("upstream_error", "upstream_closed"),
            "{api}"
        );
    }
}

#[tokio::test]
async fn cached_and_reasoning_tokens_are_read_in_every_dialect() {
    let (backend, gateway) = rig().await;
    backend.otherwise(Script::completion().prompt_tokens(40, 30));
    for api in ["chat/completions", "completions", "responses", "messages"] {
        for stream in [false, true] {
            gateway
                .call(&gateway.request(api, "m", &json!({"stream": stream})))
                .await;
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    for row in &rows {
        assert_eq!(
            (tokens(row), row.tokens.cached),
            ((40, 3, 43, "upstream"), 30),
            "{row:?}"
        );
    }
    assert_eq!(rows.len(), 8);
}

#[tokio::test]
async fn counting_and_splitting_texts_costs_nothing() {
    let (backend, gateway) = rig().await;
    backend.otherwise(Script::json(200, &json!({"input_tokens": 12})));
    let prompt = gateway.request("messages/count_tokens", "m", &json!({}));
    assert_eq!(
        gateway.call(&prompt).await.json(),
        json!({"input_tokens": 12})
    );
    backend.otherwise(Script::json(
        200,
        &json!({"count": 2, "tokens": [1, 2], "max_model_len": 8}),
    ));
    for api in ["tokenize", "detokenize"] {
        assert_eq!(
            gateway
                .call(&gateway.request(api, "m", &json!({})))
                .await
                .status(),
            200,
            "{api}"
        );
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (tokens(&row), &*row.outcome),
            ((0, 0, 0, "none"), "ok"),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn rerankers_answer_with_objects_and_with_lists() {
    let (backend, gateway) = rig().await;
    let object =
        json!({"results": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 9}});
    for (api, body) in [
        ("rerank", &object),
        ("score", &json!([{"index": 0, "score": 0.5}])),
    ] {
        backend.otherwise(Script::json(200, body));
        let answer = gateway
            .call(&gateway.request(api, "m", &json!({"query": "q", "documents": ["d"]})))
            .await;
        assert_eq!(answer.text(), body.to_string(), "{api}");
    }
    backend.otherwise(Script::raw(200, "<html>").header("content-type", "text/html"));
    assert_eq!(
        gateway
            .call(&gateway.request("rerank", "m", &json!({})))
            .await
            .status(),
        502
    );
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(tokens(&rows[0]), (9, 0, 9, "upstream"));
    assert_eq!(
        (&*rows[1].outcome, &*rows[1].usage_source),
        ("ok", "estimated")
    );
}

#[tokio::test]
async fn forms_go_on_byte_for_byte_and_their_usage_counts() {
    let (backend, gateway) = rig().await;
    let file: Vec<u8> = (0..=255).collect();
    let mut form = b"--b0\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b0\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n".to_vec();
    form.extend_from_slice(&file);
    form.extend_from_slice(b"\r\n--b0--\r\n");
    let usage = json!({"text": "hello", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
        "input_token_details": {"audio_tokens": 14}}});
    for (api, answer) in [
        ("audio/transcriptions", Script::json(200, &usage)),
        (
            "audio/translations",
            Script::raw(200, "plain text\n").header("content-type", "text/plain"),
        ),
        ("images/edits", Script::json(200, &usage)),
    ] {
        backend.otherwise(answer);
        let request = Request::post(&format!("/v1/{api}"))
            .bearer(&gateway.site().secrets.client_bearer())
            .header("content-type", "multipart/form-data; boundary=b0")
            .body(form.clone());
        let answer = gateway.call(&request).await;
        assert_eq!(answer.status(), 200, "{api}: {}", answer.text());
        let record = backend.records().pop().unwrap().received;
        assert_eq!(record.body, form, "{api}");
        assert_eq!(
            record.header("content-type"),
            Some("multipart/form-data; boundary=b0")
        );
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(tokens(&rows[0]), (14, 45, 59, "upstream"));
    assert_eq!(
        (&*rows[1].outcome, &*rows[1].usage_source),
        ("ok", "estimated")
    );
    assert_eq!(tokens(&rows[2]), (14, 45, 59, "upstream"));
}

/// Media pass unchanged. But an empty or broken answer that calls itself JSON is not accepted as a picture, nor a
/// proxy's page as sound.
#[tokio::test]
async fn where_media_answer_in_json_it_has_to_be_json() {
    let (backend, gateway) = rig().await;
    let page =
        |kind: &str, body: &str| Script::raw(200, body.to_owned()).header("content-type", kind);
    let failed = json!({"error": {"message": "out of memory", "type": "server_error"}});
    for (script, status) in [
        (page("application/json", ""), 502),
        (page("Application/JSON; charset=utf-8", "{\"data\":["), 502),
        (page("text/html; charset=utf-8", "<html>busy</html>"), 502),
        (Script::json(200, &failed), 502),
        (Script::json(200, &json!({"data": []})), 200),
        (page("application/x-ndjson", "{}\n{}\n"), 200),
        // The transcript of silence is empty.
        (page("text/plain", ""), 200),
        (page("image/png", "\u{1}"), 200),
    ] {
        backend.otherwise(script);
        for api in ["images/generations", "audio/speech", "audio/transcriptions"] {
            let answer = gateway
                .call(&gateway.request(api, "m", &json!({"prompt": "x"})))
                .await;
            assert_eq!(answer.status(), status, "{api}: {}", answer.text());
        }
    }
    let rows = gateway.finish(&[&backend]).await;
    let failed = rows.iter().filter(|row| row.outcome == "upstream_error");
    assert_eq!(failed.count(), 12);
}

#[tokio::test]
async fn a_sound_is_heard_while_it_is_made() {
    let (backend, gateway) = rig().await;
    let gate = Gate::closed();
    let sound: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let script = Script::raw(200, sound.clone())
        .header("content-type", "audio/mpeg")
        .framing(ScriptFraming::Chunked)
        .cut_body(ostia_testkit::backend::Cuts::Every(1_000));
    backend.otherwise(script.gate_events(&gate));
    let mut client = gateway.client().await;
    client
        .send(
            gateway
                .request("audio/speech", "m", &json!({"input": "x"}))
                .bytes(),
        )
        .await;
    gate.release(1);
    let mut reading = client.begin().await.unwrap();
    let first = client.piece(&mut reading).await.unwrap().unwrap();
    assert_eq!(first, sound[..1_000]);
    gate.open();
    let rest = client.rest(reading).await;
    assert_eq!(
        (&rest.body[..], &rest.ended),
        (&sound[1_000..], &Ended::Complete)
    );
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!((&*rows[0].outcome, rows[0].response_bytes), ("ok", 3_000));
}

#[tokio::test]
async fn speech_as_events_passes_and_reports_its_usage() {
    let (backend, gateway) = rig().await;
    let events = [
        "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\n",
        "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n",
    ];
    backend.otherwise(Script::events(events));
    let more = json!({"input": "x", "stream_format": "sse"});
    let answer = gateway
        .call(&gateway.request("audio/speech", "m", &more))
        .await;
    assert_eq!(
        (answer.text(), &answer.ended),
        (events.concat(), &Ended::Complete)
    );
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        (tokens(&rows[0]), &*rows[0].outcome),
        ((14, 101, 115, "upstream"), "ok")
    );
}

/// A budget of tokens runs out at the same request in every dialect.
#[tokio::test]
async fn budgets_stop_every_form_of_a_call_at_the_same_count() {
    for api in ["chat/completions", "completions", "responses", "messages"] {
        let mut counts = Vec::new();
        for more in [
            json!({}),
            json!({"stream": true}),
            json!({"stream": true, "stream_options": {"include_usage": true}}),
        ] {
            let backend = FakeBackend::start().await;
            backend.otherwise(Script::completion().chunks(10).prompt_tokens(50, 0));
            let site = Site::new()
                .model("m", &backend)
                .settings("[limits]\ntpm_user = 500\ndefault_output_tokens = 64");
            let gateway = TestGateway::start(site).await;
            let mut passed = 0;
            while gateway
                .call(&gateway.request(api, "m", &more))
                .await
                .status()
                == 200
            {
                passed += 1;
            }
            counts.push(passed);
            gateway.finish(&[&backend]).await;
        }
        assert!(counts[0] > 2, "{api}: {counts:?}");
        assert!(
            counts.iter().all(|count| *count == counts[0]),
            "{api}: {counts:?}"
        );
    }
}
