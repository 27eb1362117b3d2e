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

/// A JSON text inside a string inside a string: proxies that pass on each other's errors.
const MOST_WRAPPINGS: usize = 4;
/// Of a list of faults, so many are told.
const MOST_FAULTS: usize = 8;

impl Told {
    /// A text without anything else.
    pub(super) fn text(message: &str) -> Option<Self> {
        (!message.trim().is_empty()).then(|| Self {
            message: message.to_owned(),
            code: None,
            param: None,
        })
    }

    /// The text in a JSON value, however deep it stands. Of a list that does not hold faults, the first element that has
    /// one counts.
    pub(super) fn find(value: &Value) -> Option<Self> {
        Self::find_in(value, MOST_WRAPPINGS)
    }

    /// `wrappings`: how many strings that hold JSON may still be opened.
    fn find_in(value: &Value, wrappings: usize) -> Option<Self> {
        match value {
            Value::String(text) => Self::unwrapped(text, wrappings).or_else(|| Self::text(text)),
            Value::Array(items) => in_words(&faults_of(items))
                .or_else(|| items.iter().find_map(|item| Self::find_in(item, wrappings))),
            Value::Object(members) => Self::within(members, wrappings),
            _ => None,
        }
    }

    /// What a string says that holds JSON.
    fn unwrapped(text: &str, wrappings: usize) -> Option<Self> {
        let is_json = wrappings > 0 && text.trim_start().starts_with(['{', '[', '"']);
        let inner = is_json.then(|| serde_json::from_str::<Value>(text).ok())??;
        Self::find_in(&inner, wrappings - 1)
    }

    fn within(members: &Map<String, Value>, wrappings: usize) -> Option<Self> {
        let mut told = TEXTS.iter().find_map(|name| {
            let value = member(members, name)?;
            let fields = value.as_object().filter(|_| holds_fields(name));
            let by_field = fields.and_then(|fields| in_words(&by_field(fields)?));
            by_field.or_else(|| Self::find_in(value, wrappings))
        })?;
        let code = || member(members, "code").or_else(|| member(members, "error_code"));
        told.code = told.code.or_else(|| code().filter(is_code).cloned());
        let param = || member(members, "param")?.as_str().map(str::to_owned);
        told.param = told.param.or_else(param);
        Some(told)
    }
}

/// What is wrong with one part of a request: its place, or nothing, and the reason.
type Fault<'a> = (String, &'a str);

fn in_words(faults: &[Fault<'_>]) -> Option<Told> {
    let words = faults.iter().take(MOST_FAULTS);
    let words = words.map(|(place, reason)| match &**place {
        "" => (*reason).to_owned(),
        place => format!("{place}: {reason}"),
    });
    let mut told = Told::text(&words.collect::<Vec<_>>().join("; "))?;
    let mut places = faults.iter().map(|(place, _)| place);
    told.param = places.find(|place| !place.is_empty()).cloned();
    Some(told)
}

/// The faults of a list of texts, or of pydantic's: each with its place (`loc`) and the reason (`msg`). Empty if it is
/// another list.
fn faults_of(items: &[Value]) -> Vec<Fault<'_>> {
    items
        .iter()
        .map(fault)
        .collect::<Option<_>>()
        .unwrap_or_default()
}

fn fault(item: &Value) -> Option<Fault<'_>> {
    if let Some(text) = item.as_str() {
        return Some((String::new(), text));
    }
    let place = item.get("loc")?.as_array()?;
    let reason = item.get("msg")?.as_str()?;
    let steps = place.iter().filter_map(|step| match step {
        Value::String(name) => Some(name.clone()),
        Value::Number(index) => Some(index.to_string()),
        _ => None,
    });
    // That it is in the body goes without saying.
    let steps: Vec<String> = steps.skip_while(|step| step == "body").collect();
    Some((steps.join("."), reason))
}

/// Where frameworks put an object from fields to lists of reasons.
fn holds_fields(name: &str) -> bool {
    matches!(name, "detail" | "errors" | "message")
}

fn by_field(members: &Map<String, Value>) -> Option<Vec<Fault<'_>>> {
    let mut faults = Vec::with_capacity(members.len());
    for (field, reasons) in members {
        let first = reasons.as_array()?.first()?.as_str()?;
        faults.push((field.clone(), first));
    }
    Some(faults)
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
    fn a_list_of_what_is_wrong_is_told_in_words() {
        for (body, message, param) in [
            (
                json!({"detail": [
                    {"type": "greater_than", "loc": ["body", "n"], "msg": "must be positive", "input": -1},
                    {"loc": ["body", "messages", 0, "content"], "msg": "Field required"},
                ]}),
                "n: must be positive; messages.0.content: Field required",
                Some("n"),
            ),
            (
                json!({"detail": [{"loc": ["body"], "msg": "Invalid JSON"}]}),
                "Invalid JSON",
                None,
            ),
            (json!({"detail": ["one", "two"]}), "one; two", None),
            (
                json!({"title": "Bad Request", "errors": {"n": ["must be positive", "x"], "top_p": ["too large"]}}),
                "n: must be positive; top_p: too large",
                Some("n"),
            ),
            (
                json!({"object": "error", "message": [{"loc": ["body", "n"], "msg": "bad"}]}),
                "n: bad",
                Some("n"),
            ),
        ] {
            let told = Told::find(&body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!((&*told.message, told.param.as_deref()), (message, param));
        }
        let many = vec![json!({"loc": ["body", "n"], "msg": "bad"}); 1000];
        let told = Told::find(&json!({ "detail": many })).unwrap();
        assert_eq!(told.message.matches("bad").count(), 8);
    }

    #[test]
    fn json_inside_a_string_is_read() {
        let inner = json!({"error": {"message": "too long", "code": "context_length_exceeded"}});
        let mut wrapped = inner;
        for _ in 0..3 {
            wrapped = json!({"detail": wrapped.to_string()});
            check(&wrapped, "too long", &json!("context_length_exceeded"));
            let text = Value::from(wrapped.to_string());
            check(&text, "too long", &json!("context_length_exceeded"));
        }
        let list = json!([{"loc": ["body", "n"], "msg": "bad"}]).to_string();
        check(&json!({ "message": list }), "n: bad", &Value::Null);
        for text in ["{not json}", "[INST] is no template", "{\"a\":1}"] {
            check(&json!({"message": text}), text, &Value::Null);
        }
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
