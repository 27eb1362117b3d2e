//! Which bodies are taken.

use super::*;

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
