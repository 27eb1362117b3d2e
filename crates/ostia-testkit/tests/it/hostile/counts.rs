//! Reservations are right however a count is spelled, and however control keys are written.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::{Value, json};

use super::{assert_refused, raw};

#[tokio::test]
async fn a_count_in_any_spelling_reserves_what_a_lenient_server_would_make() {
    // Each asks for 20 answers of 50 tokens, or one of 1,000.
    let cases = [
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n":"20""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n":" 20""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n":"\u00320""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n":20.0"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n":2e1"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n":"2e1""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"best_of":"2_0""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"n_cmpl":20"#,
        ),
        ("chat/completions", r#""messages":[{}],"max_tokens":"1000""#),
        ("chat/completions", r#""messages":[{}],"max_tokens":1000.0"#),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"min_tokens":1e3"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"n_predict":"1000""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"max_new_tokens":1000"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"generationConfig":{"maxOutputTokens":50,"candidateCount":"20"}"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"extra_body":{"Max_Tokens":1000}"#,
        ),
        (
            "completions",
            r#""prompt":["a","b"],"max_tokens":50,"n":"1e1""#,
        ),
        (
            "completions",
            r#""prompt":"a","max_tokens":50,"best_of":"20.0""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"max_length":1000"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"min_new_tokens":"1_0_00""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"extra_body":{"extra_body":{"max_tokens":1000}}"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"extra_body":{"sampling_params":{"options":{"N":20}}}"#,
        ),
        ("responses", r#""input":"a","max_output_tokens":"1000""#),
        ("messages", r#""messages":[{}],"max_tokens":"1e3""#),
        // The guess for one answer (100), multiplied.
        ("chat/completions", r#""messages":[{}],"n":"10""#),
        ("completions", r#""prompt":"a","best_of":10"#),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":50,"num_beams":20"#,
        ),
        (
            "completions",
            r#""prompt":"a","max_tokens":50,"beam_width":"20""#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"tokens_to_generate":1e3"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"max_tokens":1,"generationconfig":{"maxoutputtokens":1000}"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"n":10,"max_tokens":-1"#,
        ),
        (
            "chat/completions",
            r#""messages":[{}],"n":10,"max_tokens":1,"n_predict":-1"#,
        ),
    ];
    for (api, members) in cases {
        let backend = FakeBackend::start().await;
        let endpoint = Endpoint::of("m", &backend).field("tpm_user", json!(1_050));
        let site = Site::new().endpoint(endpoint);
        let site = site.settings("[limits]\ndefault_output_tokens = 100\nreserve_output = \"max_tokens\"\nqueue_timeout = \"0\"");
        let gateway = TestGateway::start(site).await;
        let gate = Gate::closed();
        backend.otherwise(Script::completion().gate_head(&gate));
        let request = raw(&gateway, api, format!(r#"{{"model":"m",{members}}}"#));
        let second = async {
            backend.requests(1).await;
            // Requested tokens do not fit a second time. A guess takes the room that is left, but a prompt of 60 does
            // not fit either.
            let prompt = json!({"messages": [{"content": "x".repeat(240)}], "max_tokens": 1});
            let answer = gateway
                .call(&gateway.request("chat/completions", "m", &prompt))
                .await;
            gate.open();
            answer
        };
        let (first, second) = tokio::join!(gateway.call(&request), second);
        assert_eq!(first.status(), 200, "{api} {members}: {}", first.text());
        assert_eq!(second.status(), 429, "{api} {members}: {}", second.text());
        gateway.finish(&[&backend]).await;
    }
}

#[tokio::test]
async fn a_text_that_may_be_a_number_to_somebody_is_refused() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let long = format!("\"{}20\"", " ".repeat(300));
    let zeros = format!("0.{}1", "0".repeat(300));
    for (api, key, value) in [
        ("chat/completions", "n", "\"0x14\""),
        ("chat/completions", "n", "\"\u{ff12}\u{ff10}\""),
        ("chat/completions", "n", "\"20 answers\""),
        ("chat/completions", "max_tokens", "\"\\u001c20\""),
        ("chat/completions", "max_tokens", &*long),
        ("chat/completions", "max_tokens", &*zeros),
        ("completions", "best_of", "\"1,000\""),
        ("responses", "max_output_tokens", "\"20tokens\""),
        ("messages", "max_tokens", "\"1 000\""),
        ("chat/completions", "n", "[20]"),
        ("chat/completions", "n", "{\"value\":20}"),
        ("chat/completions", "max_tokens", "[\"5000\"]"),
        ("completions", "best_of", "[]"),
    ] {
        let body = format!(
            r#"{{"model":"m","messages":[{{}}],"prompt":"a","input":"a","{key}":{value}}}"#
        );
        let answer = gateway.call(&raw(&gateway, api, body)).await;
        assert_refused(&answer, key, value);
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}

/// Nothing can be reserved for it, with a cap or without, with limits or without.
#[tokio::test]
async fn a_count_without_end_is_refused() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let spellings = [
        "\"Infinity\"",
        "\" +inf\"",
        "1e999",
        "\"1e999\"",
        "1e400",
        "99999999999999999999",
    ];
    for (api, prompt, keys) in [
        (
            "chat/completions",
            r#""messages":[{}]"#,
            ["max_tokens", "n", "max_completion_tokens"],
        ),
        (
            "completions",
            r#""prompt":"a""#,
            ["max_tokens", "n", "best_of"],
        ),
        (
            "responses",
            r#""input":"a""#,
            ["max_output_tokens", "min_tokens", "max_tokens"],
        ),
    ] {
        for (key, value) in keys
            .iter()
            .flat_map(|key| spellings.map(|value| (key, value)))
        {
            for place in ["", r#""extra_body":{"#] {
                let close = if place.is_empty() { "" } else { "}" };
                let body = format!(r#"{{"model":"m",{prompt},{place}"{key}":{value}{close}}}"#);
                let answer = gateway.call(&raw(&gateway, api, body)).await;
                assert_refused(&answer, key, value);
            }
        }
    }
    assert!(backend.records().is_empty());
    gateway.finish(&[&backend]).await;
}

/// A data URL and base64 are one medium each, but only where the API has media: elsewhere a model reads them as text.
#[tokio::test]
async fn a_text_that_looks_like_a_medium_counts_as_text() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).field("tpm_user", json!(3_000));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    // A user who has used nothing yet may exceed a limit once.
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let text = "word_".repeat(4_000);
    let url = format!("data:{text}");
    let part =
        |part: Value| json!({"messages": [{"role": "user", "content": [part]}], "max_tokens": 1});
    let source = |kind: &str| json!({"type": kind, "media_type": "text/plain", "data": text});
    for (api, body) in [
        (
            "chat/completions",
            part(json!({"type": "text", "text": url})),
        ),
        (
            "chat/completions",
            part(json!({"type": "text", "text": "a", "data": text})),
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": "user", "content": url.replace('_', "\n")}], "max_tokens": 1}),
        ),
        ("completions", json!({"prompt": url, "max_tokens": 1})),
        ("embeddings", json!({"input": [url]})),
        ("responses", json!({"input": url, "max_output_tokens": 1})),
        (
            "messages",
            json!({"system": url, "messages": [{}], "max_tokens": 1}),
        ),
        (
            "messages",
            part(json!({"type": "document", "source": source("text")})),
        ),
        (
            "responses",
            json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_data": text.replace('_', " ")}]}]}),
        ),
    ] {
        let mut body = body;
        body["model"] = "m".into();
        let answer = gateway.call(&raw(&gateway, api, body.to_string())).await;
        assert_eq!(
            answer.status(),
            429,
            "{api} {:.80}: {}",
            body.to_string(),
            answer.text()
        );
    }
    // Media still count as one each.
    let image = format!("data:image/png;base64,{}", "A".repeat(20_000));
    for (api, body) in [
        (
            "chat/completions",
            part(json!({"type": "image_url", "image_url": {"url": image}})),
        ),
        (
            "messages",
            part(json!({"type": "image", "source": source("base64")})),
        ),
    ] {
        let mut body = body;
        body["model"] = "m".into();
        let answer = gateway.call(&raw(&gateway, api, body.to_string())).await;
        assert_eq!(answer.status(), 200, "{api}: {}", answer.text());
    }
    assert_eq!(backend.records().len(), 3);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn control_keys_in_other_letters_are_refused() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    for (api, member, param) in [
        (
            "responses",
            r#""Previous_Response_Id":"resp_1""#,
            "previous_response_id",
        ),
        ("responses", r#""CONVERSATION":"conv_1""#, "conversation"),
        ("responses", r#""Background":true"#, "background"),
        ("responses", r#""Input":[{"id":"msg_1"}]"#, "input"),
        ("responses", r#""input":[{"ID":"msg_1"}]"#, "input"),
        (
            "responses",
            r#""input":[{"Type":"item_reference","role":"user"}]"#,
            "input",
        ),
        ("chat/completions", r#""ſtream":true"#, "stream"),
        ("chat/completions", r#""\u017ftream":true"#, "stream"),
        ("chat/completions", r#""N":20"#, "n"),
        ("chat/completions", r#""Max_Tokens":5000"#, "max_tokens"),
        (
            "chat/completions",
            "\"max_to\u{212a}ens\":5000",
            "max_tokens",
        ),
        ("chat/completions", r#""MESSAGES":[{}]"#, "messages"),
        (
            "chat/completions",
            r#""Stream_Options":{}"#,
            "stream_options",
        ),
        (
            "chat/completions",
            r#""stream_options":{"Include_U\u017fage":false}"#,
            "include_usage",
        ),
        ("chat/completions", r#""Best_Of":9"#, "best_of"),
        ("chat/completions", r#""Options":{}"#, "options"),
        (
            "chat/completions",
            r#""GENERATIONCONFIG":{}"#,
            "generationconfig",
        ),
        ("embeddings", r#""Sampling_Params":{}"#, "sampling_params"),
        ("chat/completions", r#""RID":"x""#, "rid"),
        ("chat/completions", r#""\u0050riority":1"#, "priority"),
        (
            "chat/completions",
            "\"\u{212a}v_transfer_params\":{}",
            "kv_transfer_params",
        ),
        ("completions", r#""Prompt":"a""#, "prompt"),
        ("messages", r#""Max_tokens":1"#, "max_tokens"),
        ("rerank", r#""Model":"m""#, "model"),
    ] {
        let (chat, text) = (r#""messages":[{}]"#, r#""prompt":"a""#);
        let body = format!(r#"{{"model":"m",{member},{chat},{text}}}"#);
        let answer = gateway.call(&raw(&gateway, api, body)).await;
        assert_refused(&answer, param, member);
    }
    // Go folds none of these, so they are not control keys.
    for member in [
        "\"\u{ff2d}odel\":1",
        "\"m\u{f6}del\":1",
        "\"modeI\":1",
        "\"Temperature\":1",
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{}}],{member}}}"#);
        let answer = gateway.call(&raw(&gateway, "chat/completions", body)).await;
        assert_eq!(answer.status(), 200, "{member}: {}", answer.text());
    }
    assert_eq!(backend.records().len(), 4);
    gateway.finish(&[&backend]).await;
}

/// Some proxies merge `extra_body` into the body itself.
#[tokio::test]
async fn what_is_judged_at_the_top_is_not_said_again_below() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    for (api, member, param) in [
        (
            "chat/completions",
            r#""extra_body":{"model":"other"}"#,
            "model",
        ),
        (
            "chat/completions",
            r#""extra_body":{"a":1,"Mod\u0065l":"m"}"#,
            "model",
        ),
        (
            "chat/completions",
            r#""extra_body":{"stream":true}"#,
            "stream",
        ),
        (
            "chat/completions",
            r#""extra_body":{"messages":[]}"#,
            "messages",
        ),
        ("completions", r#""extra_body":{"prompt":"b"}"#, "prompt"),
        (
            "responses",
            r#""extra_body":{"previous_response_id":"r"}"#,
            "previous_response_id",
        ),
        (
            "responses",
            r#""extra_body":{"conversation":"c"}"#,
            "conversation",
        ),
        (
            "responses",
            r#""extra_body":{"background":true}"#,
            "background",
        ),
        ("rerank", r#""extra_body":{"model":"other"}"#, "model"),
        (
            "chat/completions",
            r#""extra_body":{"extra_body":{"model":"other"}}"#,
            "model",
        ),
        (
            "chat/completions",
            r#""options":{"Extra_Body":{"stream":true}}"#,
            "stream",
        ),
        (
            "responses",
            r#""input":[{"type":"image_generation_call","id":"ig_1"}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"type":"image_generation_call","id":"ig_1","result":null}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"type":"image_generation_call","id":"ig_1","result":""}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"type":"image_generation_call","id":"ig_1","result":["A"]}]"#,
            "input",
        ),
        (
            "responses",
            r#""input":[{"type":"","id":"msg_1"}]"#,
            "input",
        ),
    ] {
        let input = if member.contains("\"input\"") {
            ""
        } else {
            r#""input":"a","#
        };
        let body = format!(r#"{{"model":"m",{input}"messages":[{{}}],"prompt":"a",{member}}}"#);
        let answer = gateway.call(&raw(&gateway, api, body)).await;
        assert_refused(&answer, param, member);
    }
    for (api, members) in [
        (
            "chat/completions",
            r#""messages":[{}],"extra_body":{"top_k":5,"metadata":{"model":"x"}}"#,
        ),
        (
            "responses",
            r#""input":[{"type":"image_generation_call","id":"ig_1","result":"AAAA"}]"#,
        ),
    ] {
        let body = format!(r#"{{"model":"m",{members}}}"#);
        let answer = gateway.call(&raw(&gateway, api, body)).await;
        assert_eq!(answer.status(), 200, "{members}: {}", answer.text());
    }
    assert_eq!(backend.records().len(), 2);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn prompt_counts_in_whatever_field_it_comes() {
    let backend = FakeBackend::start().await;
    let endpoint = Endpoint::of("m", &backend).field("tpm_user", json!(900));
    let gateway = TestGateway::start(Site::new().endpoint(endpoint)).await;
    // A user who has used nothing yet may exceed a limit once.
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let long = "x".repeat(4_000);
    for field in [
        "chat_template_kwargs",
        "prediction",
        "inputs",
        "texts",
        "passages",
        "input_prefix",
        "input_suffix",
        "input_extra",
        "Chat_Template_Kwargs",
        "instruction",
        "system_prompt",
        "negative_prompt",
        "contents",
    ] {
        let body =
            json!({"model": "m", "messages": [{}], "max_tokens": 1, field: {"content": [long]}});
        let answer = gateway
            .call(&raw(&gateway, "chat/completions", body.to_string()))
            .await;
        assert_eq!(answer.status(), 429, "{field}: {}", answer.text());
    }
    for field in ["input_ids", "prompt_token_ids"] {
        let body = json!({"model": "m", "messages": [{}], "max_tokens": 1, field: vec![7; 1_000]});
        let answer = gateway
            .call(&raw(&gateway, "chat/completions", body.to_string()))
            .await;
        assert_eq!(answer.status(), 429, "{field}: {}", answer.text());
    }
    assert_eq!(backend.records().len(), 1);
    gateway.finish(&[&backend]).await;
}
