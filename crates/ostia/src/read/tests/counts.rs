//! Caps, choices and estimates.

use super::*;

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
    let source = format!("\"messages\":[{{\"data\":\"{long}\",\"text\":\"{long}\"}}]");
    assert_eq!(estimate("messages", &source), 1024 + 2048);
}
