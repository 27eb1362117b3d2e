//! What is put into a body, and that nothing else of it changes.

use super::*;

#[test]
fn usage_is_asked_for_once_and_only_where_it_streams() {
    let sent = |api, body: &str| {
        joined(&read_json(api, body).unwrap().pieces(Changes {
            inject_usage: true,
            ..Changes::default()
        }))
    };
    let chat = |members: &str| {
        let body = format!("{{\"model\":\"m\",\"messages\":[{{}}]{members}}}");
        sent("chat/completions", &body)[28..].to_owned()
    };
    assert_eq!(chat(",\"stream\":false"), ",\"stream\":false}");
    assert_eq!(
        sent(
            "completions",
            " { \"stream\":true,\"model\":\"m\",\"prompt\":\"\"}"
        ),
        " {\"stream_options\":{\"include_usage\":true}, \"stream\":true,\"model\":\"m\",\"prompt\":\"\"}"
    );
    let streamed = |options: &str| chat(&format!(",\"stream\":true,\"stream_options\":{options}"));
    let expected = |options: &str| format!(",\"stream\":true,\"stream_options\":{options}}}");
    for (options, changed) in [
        ("null", "{\"include_usage\":true}"),
        ("{}", "{\"include_usage\":true}"),
        ("{ }", "{\"include_usage\":true }"),
        ("{ \"a\":1}", "{\"include_usage\":true, \"a\":1}"),
        ("{\"include_usage\":false}", "{\"include_usage\":true}"),
        (
            "{\"include_usage\" : null,\"a\":1}",
            "{\"include_usage\" : true,\"a\":1}",
        ),
        (
            "{\"include_usage\":true,\"include_usag\\u0065\":false}",
            "{\"include_usage\":true,\"include_usag\\u0065\":true}",
        ),
        ("{\"include_usage\":true}", "{\"include_usage\":true}"),
        ("{\"include_usage\":1}", "{\"include_usage\":1}"),
        (
            "{\"include_usage\":{\"a\":[1]}}",
            "{\"include_usage\":{\"a\":[1]}}",
        ),
        ("[]", "[]"),
    ] {
        assert_eq!(streamed(options), expected(changed), "{options}");
    }
    let responses = "{\"model\":\"m\",\"stream\":true}";
    assert_eq!(sent("responses", responses), responses);
}

#[test]
fn what_the_client_asked_for_is_not_hidden() {
    let injects = |options: &str| {
        let call = call(
            "completions",
            &format!("\"prompt\":\"\",\"stream\":true{options}"),
        );
        (call.injects_usage(), call.wants_usage)
    };
    assert_eq!(injects(""), (true, false));
    assert_eq!(
        injects(",\"stream_options\":{\"include_usage\":true}"),
        (false, true)
    );
    assert_eq!(
        injects(",\"stream_options\":{\"include_usage\":1}"),
        (false, true)
    );
    assert_eq!(injects(",\"stream_options\":7"), (false, false));
}

#[test]
fn an_unchanged_body_is_one_piece_and_no_copy() {
    let call = call("embeddings", "\"input\":\"a\"");
    let pieces = call.pieces(Changes {
        model: Some("m"),
        inject_usage: true,
        ..Changes::default()
    });
    assert_eq!(pieces.len(), 1);
    assert_eq!(pieces[0].as_ptr(), call.body.as_ptr());
}

#[test]
fn forms_are_read_and_spliced() {
    let form = |model: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
             --B\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--B--\r\n"
        )
    };
    let content_type = "multipart/form-data; boundary=B";
    let read = |model: &str| read_as("audio/transcriptions", content_type, &form(model));
    let call = read("whisper").unwrap();
    assert_eq!(
        (&*call.model, call.stream, call.form),
        ("whisper", true, Form::Multipart)
    );
    assert_eq!(
        joined(&call.pieces(Changes {
            model: Some("a\"b"),
            inject_usage: true,
            ..Changes::default()
        })),
        form("a\"b")
    );
    assert_eq!(
        joined(&call.pieces(Changes {
            inject_usage: true,
            ..Changes::default()
        })),
        form("whisper")
    );
    assert!(read(&"m".repeat(1024)).is_ok());
    assert_eq!(read(&"m".repeat(1025)).unwrap_err().param(), Some("model"));
    assert_eq!(read("").unwrap_err().code(), "missing_model");
    assert!(matches!(
        read_as("chat/completions", content_type, &form("m")),
        Err(ReadError::UnsupportedType(_))
    ));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\\n\u{e9}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_stream_options() -> impl Strategy<Value = Option<Value>> {
    let include_usage = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)];
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!({}))),
        any_json().prop_map(|value| Some(json!({"a": value}))),
        (any_json(), include_usage)
            .prop_map(|(value, usage)| Some(json!({"a": value, "include_usage": usage}))),
    ]
}

proptest! {
    #[test]
    fn pieces_change_what_they_should_and_nothing_else(
        before in prop::collection::vec(("x[a-z]{1,4}", any_json()), 0..3),
        after in prop::collection::vec(("y[a-z]{1,4}", any_json()), 0..3),
        model in "[a-z\"\\\\\n\u{e9}]{1,8}",
        upstream in proptest::option::of("[a-z\"\\\\\n\u{e9}]{1,8}"),
        stream: bool,
        options in any_stream_options(),
        pretty: bool,
        inject: bool,
        salted: bool,
    ) {
        let mut body = serde_json::Map::new();
        body.extend(before);
        if stream {
            body.insert("stream".to_owned(), true.into());
        }
        body.insert("model".to_owned(), model.clone().into());
        if let Some(options) = &options {
            body.insert("stream_options".to_owned(), options.clone());
        }
        body.insert("messages".to_owned(), json!([{"content": "hi"}]));
        body.extend(after);
        let body = Value::Object(body);
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let call = read_json("chat/completions", &text.unwrap()).unwrap();
        let salt = salted.then_some("s\"alt");
        let pieces = call.pieces(Changes {
            model: upstream.as_deref(), inject_usage: inject, cache_salt: salt, ..Changes::default()
        });

        let mut expected = body;
        if let Some(upstream) = &upstream {
            expected["model"] = upstream.clone().into();
        }
        if inject && stream {
            if !expected["stream_options"].is_object() {
                expected["stream_options"] = json!({});
            }
            expected["stream_options"]["include_usage"] = true.into();
        }
        if let Some(salt) = salt {
            expected["cache_salt"] = salt.into();
        }
        let sent: Value = serde_json::from_slice(&pieces.concat()).unwrap();
        prop_assert_eq!(sent, expected);

        // Everything unchanged is a slice of the body, and the slices omit only what was replaced.
        let start = call.body.as_ptr() as usize;
        let mut kept = 0;
        for piece in &pieces {
            let at = piece.as_ptr() as usize;
            if (start..start + call.body.len()).contains(&at) {
                kept += piece.len();
            }
        }
        let mut replaced = 0;
        if upstream.as_ref().is_some_and(|upstream| *upstream != model) {
            replaced += call.splices.model.len();
        }
        if inject
            && call.injects_usage()
            && let StreamOptions::Null { value } | StreamOptions::IncludeUsage { value } = &call.splices.stream_options
        {
            replaced += value.len();
        }
        prop_assert_eq!(kept + replaced, call.body.len());
    }
}
