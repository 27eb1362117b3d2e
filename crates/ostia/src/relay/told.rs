use serde_json::{Map, Value};

/// What a backend's refusal says in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub message: String,
    /// A text or a number, as the backend wrote it.
    pub code: Option<Value>,
    pub param: Option<String>,
}

/// Where engines, frameworks and proxies put the text, the most telling first: where a member says "Bad Request" beside
/// one that says why, the reason counts.
const TEXTS: [&str; 11] = [
    "message",
    "msg",
    "detail",
    "error_description",
    "error_message",
    "errormessage",
    "error",
    "errors",
    "reason",
    "description",
    "title",
];

impl Told {
    /// A text without anything else.
    pub(super) fn text(message: &str) -> Option<Self> {
        (!message.trim().is_empty()).then(|| Self {
            message: message.to_owned(),
            code: None,
            param: None,
        })
    }

    /// The text in a JSON value, however deep it stands. Of a list, the first element that has one counts.
    pub(super) fn find(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::text(text),
            Value::Array(items) => items.iter().find_map(Self::find),
            Value::Object(members) => Self::within(members),
            _ => None,
        }
    }

    fn within(members: &Map<String, Value>) -> Option<Self> {
        let mut told = TEXTS.iter().find_map(|name| {
            let value = member(members, name)?;
            match (*name, value) {
                // FastAPI's list of what is wrong says where only as a whole.
                ("detail", Value::Array(items)) if !items.is_empty() => {
                    Self::text(&value.to_string())
                }
                _ => Self::find(value),
            }
        })?;
        let code = || member(members, "code").or_else(|| member(members, "error_code"));
        told.code = told.code.or_else(|| code().filter(is_code).cloned());
        let param = || member(members, "param")?.as_str().map(str::to_owned);
        told.param = told.param.or_else(param);
        Some(told)
    }
}

/// A member by its name in any case.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = members
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

fn is_code(value: &&Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|code| !code.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Told;

    #[track_caller]
    fn check(body: &Value, message: &str, code: &Value) {
        let told = Told::find(body).unwrap_or_else(|| panic!("{body} has a text"));
        assert_eq!(told.message, message, "{body}");
        assert_eq!(told.code.unwrap_or_default(), *code, "{body}");
    }

    #[test]
    fn every_engine_s_way_of_saying_it_is_read() {
        let long = "This model's maximum context length is 8192 tokens.";
        for (body, code) in [
            (
                json!({"object": "error", "message": long, "type": "BadRequestError", "code": 400}),
                json!(400),
            ),
            (json!({"message": long}), json!(null)),
            (json!({"id": "7f3", "message": long}), json!(null)),
            (
                json!([{"error": {"code": 400, "message": long, "status": "INVALID_ARGUMENT"}}]),
                json!(400),
            ),
            (
                json!({"error": long, "error_type": "validation"}),
                json!(null),
            ),
            (
                json!({"error": "Bad Request", "message": long, "status": 400}),
                json!(null),
            ),
            (
                json!({"error": "invalid_request", "error_description": long}),
                json!(null),
            ),
            (json!({"detail": long}), json!(null)),
            (
                json!({"detail": {"error": {"message": long, "code": "context_length_exceeded"}}}),
                json!("context_length_exceeded"),
            ),
            (
                json!({"type": "about:blank", "title": "Bad Request", "detail": long, "status": 400}),
                json!(null),
            ),
            (
                json!({"errors": [{"message": long, "code": 5007}], "success": false}),
                json!(5007),
            ),
            (json!({"errors": [long]}), json!(null)),
            (
                json!({"__type": "ValidationException", "Message": long}),
                json!(null),
            ),
            (
                json!({"error_message": long, "error_code": "E1"}),
                json!("E1"),
            ),
            (
                json!({"object": "error", "message": {"detail": long}, "code": ""}),
                json!(null),
            ),
            (
                json!({"message": null, "error": {"msg": long}}),
                json!(null),
            ),
            (json!([null, {"x": 1}, {"reason": long}]), json!(null)),
        ] {
            check(&body, long, &code);
        }
    }

    #[test]
    fn a_list_of_what_is_wrong_is_shown_whole() {
        let list = json!([{"loc": ["body", "n"], "msg": "must be positive"}]);
        check(&json!({"detail": list}), &list.to_string(), &Value::Null);
    }

    #[test]
    fn the_parameter_at_fault_is_kept() {
        let told = Told::find(&json!({"object": "error", "message": "m", "param": "n"})).unwrap();
        assert_eq!(told.param.as_deref(), Some("n"));
    }

    #[test]
    fn what_has_no_text_says_nothing() {
        for body in [
            json!({}),
            json!([]),
            json!(5),
            json!({"error": 5}),
            json!({"error": null, "detail": null}),
            json!({"message": "  "}),
            json!({"detail": []}),
            json!([{"error": {}}]),
            json!({"choices": [{"message": {"content": "x"}}]}),
        ] {
            assert_eq!(Told::find(&body), None, "{body}");
        }
    }
}
