//! What only the responses API has.

use super::*;

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
