//! The model, in the body and in the path.

use super::*;

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
