use serde_json::{Value, json};

use super::event::data_of;
use super::{Api, url_tail};
use crate::refusal::AnswerFault;

#[test]
fn the_last_event_speaks_the_dialect() {
    let event = |api: &str| {
        let bytes = Api::parse(api).dialect().broken_end(AnswerFault::Closed, 7);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, data) = text.split_once("data: ").unwrap();
        assert!(data.ends_with("\n\n"));
        (
            head.to_owned(),
            serde_json::from_str::<Value>(data).unwrap(),
        )
    };
    for api in ["chat/completions", "completions", "audio/speech", "other"] {
        let (head, openai) = event(api);
        assert_eq!(
            (&*head, &openai["error"]["code"]),
            ("", &json!("upstream_closed"))
        );
    }
    let (head, anthropic) = event("messages");
    assert_eq!(
        (&*head, &anthropic["type"]),
        ("event: error\n", &json!("error"))
    );
    assert_eq!(anthropic["error"]["type"], "api_error");
    let (head, responses) = event("responses");
    assert_eq!(
        (&*head, &responses["type"]),
        ("event: error\n", &json!("error"))
    );
    assert_eq!(responses["sequence_number"], 7);
    assert_eq!(responses["code"], responses["error"]["code"]);
}

#[test]
fn apis_are_parsed_by_their_whole_path() {
    let mut names: Vec<String> = Api::known().map(|api| api.as_str().to_owned()).collect();
    for name in &names {
        assert!(Api::known().any(|api| api == Api::parse(name)), "{name}");
    }
    for path in [
        "",
        "chat",
        "Chat/Completions",
        "chat/completions/",
        "models",
        "batches",
    ] {
        assert!(!names.iter().any(|name| name == path), "{path}");
        let api = Api::parse(path);
        assert_eq!(api.as_str(), path);
        assert!(!api.generates_text() && api.runs_a_model(), "{path}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Api::known().count(), "two of one name");
}

#[test]
fn the_longest_tail_is_cut_off() {
    assert_eq!(
        url_tail("/v1/chat/completions"),
        Some(("/v1", "chat/completions"))
    );
    assert_eq!(url_tail("/v1/completions"), Some(("/v1", "completions")));
    for path in [
        "/v1",
        "/v1/mycompletions",
        "/v1/tokenize",
        "/v1/images/edits",
    ] {
        assert_eq!(url_tail(path), None, "{path}");
    }
}

#[test]
fn data_lines_are_joined() {
    assert_eq!(&*data_of(b"data: a\ndata:b\r\nid: 1\ndata\n\n"), b"a\nb\n");
    assert_eq!(&*data_of(b": comment\n\n"), b"");
    assert_eq!(&*data_of(b"data: [DONE]\n\n"), b"[DONE]");
}
