mod spliced;

use std::time::Duration;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use ostia_core::ManualClock;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::{DENIED_FIELDS, Scope};
use crate::dialect::{Api, StreamOptions};
use crate::scan::MediaHosts;

const LIMITS: ReadLimits = ReadLimits {
    max_body_bytes: 1 << 20,
    body_idle_timeout: Duration::from_secs(10),
};

/// What an endpoint with the usual policy has scans look for.
fn watch() -> Watch {
    let mut watch = Watch::default();
    DENIED_FIELDS.iter().for_each(|field| watch.deny(field));
    watch.hosts(&Arc::new(MediaHosts::Public));
    watch
}

fn read_as(api: &str, content_type: &str, body: &str) -> Result<Call, ReadError> {
    read_named(None, api, content_type, body)
}

/// `model`: the model in the path, if there is one.
fn read_named(
    model: Option<&str>,
    api: &str,
    content_type: &str,
    body: &str,
) -> Result<Call, ReadError> {
    let address = Address {
        scope: Scope::Everywhere,
        api: Api::parse(api),
        model: model.map(Into::into),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            let user = "ann".into();
            let rules = Rules {
                limits: &LIMITS,
                budget: &Budget::new(1 << 20),
                user: &user,
                origin: std::net::Ipv4Addr::LOCALHOST.into(),
                watch: &watch(),
            };
            let refused = RefusedBytes::new(Arc::new(ManualClock::at(0)));
            let mut toll = refused.toll(&user, 0)?;
            read(&headers, body, &address, rules, &mut toll).await
        })
}

fn read_json(api: &str, body: &str) -> Result<Call, ReadError> {
    read_as(api, "application/json", body)
}

/// A call whose body has `model` and these other members.
fn call(api: &str, members: &str) -> Call {
    read_json(api, &format!("{{\"model\":\"m\",{members}}}")).unwrap()
}

fn refusal(api: &str, body: &str) -> (&'static str, Option<&'static str>) {
    match read_json(api, body) {
        Err(ReadError::Invalid(invalid)) => (invalid.code, invalid.param),
        other => panic!("{body}: {other:?}"),
    }
}

fn joined(pieces: &[Bytes]) -> String {
    String::from_utf8(pieces.concat()).unwrap()
}

#[test]
fn bodies_that_are_no_json_object() {
    for body in [
        "",
        "[]",
        "null",
        "{",
        "\u{feff}{}",
        "{\"a\":NaN}",
        "{} {}",
        "model=m",
    ] {
        assert_eq!(
            refusal("chat/completions", body),
            ("invalid_json", None),
            "{body}"
        );
    }
}

#[test]
fn a_model_is_needed_everywhere() {
    for api in Api::known() {
        for body in [
            "{}",
            "{\"model\":\"\"}",
            "{\"model\":null}",
            "{\"model\":7}",
            "{\"model\":[\"m\"]}",
        ] {
            assert_eq!(
                refusal(api.as_str(), body),
                ("missing_model", Some("model")),
                "{api:?} {body}"
            );
        }
    }
    assert_eq!(
        refusal("rerank", "{\"model\":\"\\ud800\"}"),
        ("invalid_value", Some("model"))
    );
    let call = read_json("rerank", "{\"mod\\u0065l\": \"a\\/b\\u00e9\"}").unwrap();
    assert_eq!(&*call.model, "a/bé");
}

#[test]
fn repeated_control_keys_name_themselves() {
    for (members, param) in [
        ("\"mod\\u0065l\":\"b\"", "model"),
        ("\"n\":1,\"n\":1", "n"),
        ("\"stream\":true,\"str\\u0065am\":false", "stream"),
        ("\"input\":1,\"input\":2", "input"),
    ] {
        let body = format!("{{\"model\":\"a\",{members}}}");
        assert_eq!(
            refusal("rerank", &body),
            ("invalid_value", Some(param)),
            "{body}"
        );
    }
}

#[test]
fn stream_is_a_boolean() {
    for value in ["1", "\"true\"", "[]", "{}"] {
        let body = format!("{{\"model\":\"m\",\"stream\":{value}}}");
        assert_eq!(
            refusal("responses", &body),
            ("invalid_value", Some("stream")),
            "{body}"
        );
    }
    assert!(call("responses", "\"stream\":true").stream);
    assert!(!call("responses", "\"stream\":false").stream);
    assert!(!call("responses", "\"stream\":null").stream);
}

#[test]
fn chat_needs_messages() {
    let refusal =
        |members: &str| refusal("chat/completions", &format!("{{\"model\":\"m\"{members}}}"));
    assert_eq!(
        refusal(""),
        ("missing_required_parameter", Some("messages"))
    );
    for value in ["null", "[]", "{}", "\"hi\"", "[\"hi\"]", "[{},1]", "[[]]"] {
        let found = refusal(&format!(",\"messages\":{value}"));
        assert_eq!(found, ("invalid_value", Some("messages")), "{value}");
    }
    call("chat/completions", "\"messages\":[{}]");
}

#[test]
fn prompts_and_inputs_are_text_or_tokens() {
    for (api, name) in [("completions", "prompt"), ("embeddings", "input")] {
        for value in ["\"a\"", "\"\"", "[\"a\",\"b\"]", "[1,2]", "[[1],[2,3]]"] {
            call(api, &format!("\"{name}\":{value}"));
        }
        for value in [
            "1",
            "true",
            "{}",
            "[]",
            "[[]]",
            "[\"a\",1]",
            "[1.5]",
            "[null]",
            "[[1],[]]",
            "[[1],2]",
            "[[\"a\"]]",
            "[{}]",
        ] {
            let body = format!("{{\"model\":\"m\",\"{name}\":{value}}}");
            assert_eq!(refusal(api, &body), ("invalid_value", Some(name)), "{body}");
        }
        for body in [
            format!("{{\"model\":\"m\",\"{name}\":null}}"),
            "{\"model\":\"m\"}".to_owned(),
        ] {
            assert_eq!(
                refusal(api, &body),
                ("missing_required_parameter", Some(name)),
                "{body}"
            );
        }
    }
    call("completions", "\"prompt_embeds\":\"AAAA\"");
    call(
        "completions",
        "\"prompt\":null,\"prompt_embeds\":[\"AAAA\"]",
    );
    call("embeddings", "\"messages\":[]");
}

#[test]
fn what_is_the_backends_business_passes() {
    call(
        "chat/completions",
        "\"messages\":[{\"role\":7}],\"max_tokens\":\"x\",\"n\":-1,\"temperature\":1e400,\"user\":\"\\ud800\",\"x\":1,\"x\":2",
    );
    call("messages", "\"messages\":7,\"max_tokens\":null");
    call("rerank", "\"query\":[],\"documents\":{}");
}

#[test]
fn output_caps() {
    let chat = |members: &str| {
        call("chat/completions", &format!("\"messages\":[{{}}]{members}")).output_cap
    };
    assert_eq!(chat(""), None);
    assert_eq!(chat(",\"max_tokens\":5"), Some(5));
    assert_eq!(
        chat(",\"max_tokens\":5,\"max_completion_tokens\":7,\"n\":3"),
        Some(21)
    );
    assert_eq!(
        chat(",\"max_tokens\":5,\"max_completion_tokens\":null,\"n\":0"),
        Some(5)
    );
    assert_eq!(
        chat(",\"max_tokens\":900,\"max_completion_tokens\":1,\"max_output_tokens\":7"),
        Some(900)
    );
    assert_eq!(
        chat(",\"max_tokens\":5,\"max_completion_tokens\":\"x\""),
        Some(5)
    );
    assert_eq!(chat(",\"max_tokens\":-5"), None);
    assert_eq!(
        chat(",\"max_tokens\":18446744073709551615,\"n\":2"),
        Some(u64::MAX)
    );

    let text =
        |members: &str| call("completions", &format!("\"max_tokens\":10,{members}")).output_cap;
    assert_eq!(text("\"prompt\":\"a\""), Some(10));
    assert_eq!(text("\"prompt\":[1,2,3],\"n\":2"), Some(20));
    assert_eq!(
        text("\"prompt\":[\"a\",\"b\"],\"n\":2,\"best_of\":4"),
        Some(80)
    );
    assert_eq!(text("\"prompt\":[[1],[2],[3]]"), Some(30));
    assert_eq!(text("\"prompt_embeds\":[\"a\",\"b\"]"), Some(20));

    assert_eq!(call("embeddings", "\"input\":\"a\"").output_cap, Some(0));
    assert_eq!(
        call("responses", "\"max_output_tokens\":9").output_cap,
        Some(9)
    );
    assert_eq!(
        call("messages", "\"max_tokens\":8,\"n\":2").output_cap,
        Some(8)
    );
    assert_eq!(
        call("messages/count_tokens", "\"max_tokens\":8").output_cap,
        Some(0)
    );
    assert_eq!(call("score", "\"text_1\":\"a\"").output_cap, Some(0));
    assert_eq!(call("audio/speech", "\"input\":\"a\"").output_cap, Some(0));
}

#[test]
fn counts_are_read_in_any_spelling_that_a_server_may_take() {
    let chat = |members: &str| format!("{{\"model\":\"m\",\"messages\":[{{}}],{members}}}");
    for number in [
        "20",
        "20.0",
        "2e1",
        "\"20\"",
        "\" 20 \"",
        "\"2e1\"",
        "19.5",
        "\"\\u0032\\u0030\"",
    ] {
        let body = chat(&format!("\"max_tokens\":10,\"n\":{number}"));
        let call = read_json("chat/completions", &body).unwrap();
        assert_eq!((call.output_cap, call.choices), (Some(200), 20), "{body}");
        let body = chat(&format!("\"min_tokens\":{number}"));
        let call = read_json("chat/completions", &body).unwrap();
        assert_eq!(call.output_cap, Some(20), "{body}");
    }
    for (key, text) in [
        ("n", "0x14"),
        ("max_tokens", "２０"),
        ("best_of", "20 or so"),
    ] {
        assert_eq!(
            refusal("chat/completions", &chat(&format!("\"{key}\":\"{text}\""))),
            ("invalid_value", Some(key))
        );
    }
}

#[test]
fn every_choice_counts_and_only_where_a_model_runs() {
    let demand =
        |members: &str| call("completions", &format!("\"prompt\":\"a\"{members}")).demand();
    assert_eq!((demand("").prompt, demand("").choices), (1, 1));
    assert_eq!(demand(",\"n\":\"2\",\"best_of\":7").choices, 7);
    assert_eq!(demand(",\"n\":3,\"max_tokens\":5").output_cap, Some(15));
    assert_eq!(call("rerank", "\"n\":3").demand().output_cap, Some(0));
}

#[test]
fn counts_stand_under_every_name_that_a_server_may_read() {
    let chat = |members: &str| {
        call(
            "chat/completions",
            &format!("\"messages\":[{{}}],{members}"),
        )
    };
    for name in [
        "max_new_tokens",
        "n_predict",
        "num_predict",
        "max_tokens_to_sample",
        "min_tokens",
    ] {
        let call = chat(&format!("\"max_tokens\":1,\"{name}\":20"));
        assert_eq!(
            (call.output_cap, call.may_exceed_cap),
            (Some(20), false),
            "{name}"
        );
    }
    for name in ["n", "n_cmpl", "num_return_sequences"] {
        let call = chat(&format!("\"{name}\":20"));
        assert_eq!((call.choices, call.tries), (20, 20), "{name}");
    }
    for object in [
        "generationConfig",
        "generation_config",
        "sampling_params",
        "parameters",
        "options",
        "extra_body",
    ] {
        let call = chat(&format!(
            "\"n\":2,\"max_tokens\":9,\"{object}\":{{\"N\":3,\"maxOutputTokens\":\"10\",\"x\":{{\"n\":99}}}}"
        ));
        assert_eq!((call.tries, call.output_cap), (3, Some(30)), "{object}");
        let body =
            format!("{{\"model\":\"m\",\"messages\":[{{}}],\"{object}\":{{\"n\":1,\"n\":2}}}}");
        assert_eq!(
            refusal("chat/completions", &body),
            ("invalid_value", Some("n"))
        );
    }
    let call = chat("\"generationConfig\":{\"candidateCount\":4},\"options\":[1]");
    assert_eq!((call.choices, call.output_cap), (4, None));
}

#[test]
fn a_negative_cap_is_none() {
    let chat = |members: &str| {
        let call = call(
            "chat/completions",
            &format!("\"messages\":[{{}}],{members}"),
        );
        (call.output_cap, call.may_exceed_cap)
    };
    assert_eq!(chat("\"max_tokens\":-1"), (None, true));
    assert_eq!(
        chat("\"max_tokens\":7,\"n_predict\":\" -1\""),
        (Some(7), true)
    );
    assert_eq!(
        chat("\"max_tokens\":7,\"n_predict\":null"),
        (Some(7), false)
    );
}

#[test]
fn names_and_numbers_beyond_all_measure_are_refused() {
    let long = "x".repeat(70_000);
    for (member, param) in [
        (format!("\"model\":\"{long}\""), "model"),
        (
            format!("\"model\":\"m\",\"previous_response_id\":\"{long}\""),
            "previous_response_id",
        ),
        (
            format!("\"model\":\"m\",\"max_output_tokens\":\"{long}1\""),
            "max_output_tokens",
        ),
        (
            format!(
                "\"model\":\"m\",\"max_output_tokens\":0.{}1",
                "0".repeat(300)
            ),
            "max_output_tokens",
        ),
    ] {
        assert_eq!(
            refusal("responses", &format!("{{{member}}}")),
            ("invalid_value", Some(param))
        );
    }
    let digits = "1".repeat(5_000);
    assert_eq!(
        refusal("responses", &format!("{{\"model\":\"m\",\"x\":{digits}}}")).0,
        "invalid_json"
    );
    // A name of 10 KB is judged like any other.
    let name = "x".repeat(10_000);
    assert!(read_json("responses", &format!("{{\"model\":\"{name}\"}}")).is_ok());
}

#[test]
fn control_keys_in_other_letters_name_themselves() {
    for (api, key, param) in [
        ("chat/completions", "\u{17f}tream", "stream"),
        ("chat/completions", "\\u017ftream", "stream"),
        ("chat/completions", "N", "n"),
        ("chat/completions", "Max_To\u{212a}ens", "max_tokens"),
        ("chat/completions", "\\u004dessages", "messages"),
        ("completions", "Best_Of", "best_of"),
        ("messages", "MAX_TOKENS", "max_tokens"),
        ("responses", "Previous_Response_Id", "previous_response_id"),
        ("responses", "CONVERSATION", "conversation"),
        ("responses", "Input", "input"),
        ("responses", "Bac\u{212a}ground", "background"),
        ("rerank", "Model", "model"),
    ] {
        let body = format!("{{\"model\":\"m\",\"messages\":[{{}}],\"{key}\":null}}");
        assert_eq!(
            refusal(api, &body),
            ("invalid_value", Some(param)),
            "{body}"
        );
    }
    let system = format!("\"messages\":[],\"\u{17f}ystem\":\"{}\"", "x".repeat(400));
    assert_eq!(call("messages", &system).prompt_estimate, 100);
    call(
        "embeddings",
        "\"input\":\"a\",\"Temperature\":1,\"\u{17f}eed\":2",
    );
}

#[test]
fn responses_do_not_run_in_the_background() {
    for value in ["true", "1", "\"true\"", "{}"] {
        let body = format!("{{\"model\":\"m\",\"background\":{value}}}");
        assert_eq!(
            refusal("responses", &body),
            ("invalid_value", Some("background")),
            "{body}"
        );
    }
    call("responses", "\"background\":false");
    call("responses", "\"background\":null");
    call("rerank", "\"background\":true");
}

#[test]
fn a_body_says_the_model_of_its_path() {
    for (body, sent) in [
        (r#"{"input":"a"}"#, r#"{"model":"a\"b","input":"a"}"#),
        (r#" { "input":"a"}"#, r#" {"model":"a\"b", "input":"a"}"#),
        (
            r#"{"input":"a","model":"other"}"#,
            r#"{"input":"a","model":"a\"b"}"#,
        ),
        (
            r#"{"input":"a","mod\u0065l" : null}"#,
            r#"{"input":"a","mod\u0065l" : "a\"b"}"#,
        ),
        (
            r#"{"input":"a","model":""}"#,
            r#"{"input":"a","model":"a\"b"}"#,
        ),
        (
            r#"{"model":"a\u0022b","input":"a"}"#,
            r#"{"model":"a\u0022b","input":"a"}"#,
        ),
    ] {
        let call = read_named(Some("a\"b"), "embeddings", "application/json", body).unwrap();
        assert_eq!(&*call.model, "a\"b", "{body}");
        assert_eq!(&*call.body, sent.as_bytes(), "{body}");
        let upstream = joined(&call.pieces(Changes {
            model: Some("on-disk"),
            inject_usage: true,
            ..Changes::default()
        }));
        let upstream: Value = serde_json::from_str(&upstream).unwrap();
        assert_eq!(upstream, json!({"model": "on-disk", "input": "a"}));
    }
    let empty = read_named(Some("m"), "rerank", "application/json", " { } ").unwrap();
    assert_eq!(&*empty.body, br#" {"model":"m" } "#);
    let repeated = r#"{"model":"m","model":"x"}"#;
    assert!(read_named(Some("m"), "rerank", "application/json", repeated).is_err());
}

#[test]
fn a_form_says_the_model_of_its_path() {
    let part = |name: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let of_m = [part("model", "m"), part("prompt", "hi")].concat();
    for form in [
        part("prompt", "hi"),
        [part("model", "other"), part("prompt", "hi")].concat(),
        of_m.clone(),
    ] {
        let body = format!("{form}--B--\r\n");
        let content_type = "multipart/form-data; boundary=B";
        let call = read_named(Some("m"), "audio/transcriptions", content_type, &body).unwrap();
        assert_eq!(&*call.model, "m");
        assert_eq!(&*call.body, format!("{of_m}--B--\r\n").as_bytes());
    }
}

#[test]
fn prompt_estimates() {
    let estimate = |api, members: &str| call(api, members).prompt_estimate;
    assert_eq!(estimate("rerank", "\"x\":\"not a prompt\""), 1);
    assert_eq!(estimate("completions", "\"prompt\":\"123456789\""), 3);
    assert_eq!(estimate("completions", "\"prompt\":[5,6,7]"), 3);
    assert_eq!(estimate("embeddings", "\"input\":[[5,6],[7]]"), 3);
    let message = "\"messages\":[{\"role\":\"user\",\"content\":\"12345678\"}]";
    assert_eq!(estimate("chat/completions", message), 3);
    assert_eq!(
        estimate("messages", &format!("{message},\"system\":\"1234\"")),
        4
    );
    let image =
        "\"messages\":[{\"url\":\"data:image/png;base64,AAAA\",\"text\":\"data: is prose\"}]";
    assert_eq!(estimate("chat/completions", image), 1024 + 4);
    let long = "A".repeat(8192);
    // A source says whether its data is text.
    for (kind, data) in [("base64", 1024), ("TEXT", 2048), ("text", 2048)] {
        for order in [
            format!("\"type\":\"{kind}\",\"data\":\"{long}\""),
            format!("\"data\":\"{long}\",\"type\":\"{kind}\""),
        ] {
            let source = format!("\"messages\":[{{\"source\":{{{order}}},\"text\":\"{long}\"}}]");
            assert_eq!(
                estimate("messages", &source),
                data + 2048 + kind.len().div_ceil(4) as u64,
                "{kind}"
            );
        }
    }
    // Where no medium stands, nothing counts as one; a lenient server takes decimals for tokens.
    let data = format!("\"messages\":[{{\"data\":\"{long}\",\"content\":\"data:{long}\"}}]");
    assert_eq!(estimate("chat/completions", &data), 2 * 2048 + 2);
    let ids = "\"messages\":[{}],\"prompt_token_ids\":[7.0,7.5,7]";
    assert_eq!(estimate("chat/completions", ids), 3);
    // Media cost something where they are not text too, and wherever they are fetched from.
    let top = "\"messages\":[{}],\"image_url\":\"https://example.org/a\",\"images\":[\"data:image/png;base64,AA\"]";
    assert_eq!(estimate("chat/completions", top), 2 * 1024);
}

#[test]
fn responses_name_what_they_continue() {
    let previous = |members: &str| call("responses", members).previous_response_id;
    assert_eq!(
        previous("\"previous_response_id\":\"resp_\\u0031\"").as_deref(),
        Some("resp_1")
    );
    assert_eq!(previous("\"previous_response_id\":null"), None);
    assert_eq!(
        refusal("responses", "{\"model\":\"m\",\"previous_response_id\":1}"),
        ("invalid_value", Some("previous_response_id"))
    );
}

#[test]
fn responses_reach_for_nothing_that_was_stored_under_the_backend_s_key() {
    for (members, param) in [
        (r#""conversation":"conv_1""#, "conversation"),
        (r#""conversation":{"id":"conv_1"}"#, "conversation"),
        (r#""convers\u0061tion":"conv_1""#, "conversation"),
        (
            r#""input":[{"type":"item_reference","id":"msg_1"}]"#,
            "input",
        ),
        (
            r#""input":["x",{"id":"msg_1","t\u0079pe":"item\u005freference"}]"#,
            "input",
        ),
        (r#""input":[{"id":"msg_1"}]"#, "input"),
        (r#""input":[{"id":"msg_1","type":null}]"#, "input"),
        (
            r#""input":[{"type":"message","id":"msg_1","type":"item_reference"}]"#,
            "input",
        ),
    ] {
        let body = format!("{{\"model\":\"m\",{members}}}");
        assert_eq!(
            refusal("responses", &body),
            ("invalid_value", Some(param)),
            "{members}"
        );
    }
    for members in [
        r#""conversation":null"#,
        r#""input":"item_reference""#,
        r#""input":[{"role":"user","content":"{\"type\":\"item_reference\"}"}]"#,
        r#""input":[{"role":"assistant","id":"msg_1","content":[]},{"type":"function_call_output","call_id":"c","output":""}]"#,
        r#""input":[]"#,
    ] {
        call("responses", members);
    }
}
