use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// A recorded request, and the surrounding state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recorded {
    pub(super) api: String,
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    pub(super) config: Map<String, Value>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) state: Option<&'static str>,
    /// Answers to `GET /path`.
    pub(super) http: BTreeMap<String, Reply>,
    pub(super) answer: Option<Reply>,
    pub(super) models: Vec<String>,
}

/// A recorded answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) status: Option<u16>,
    pub(super) headers: HeaderMap,
    /// A text is sent as it is, anything else as JSON.
    pub(super) body: Value,
}

/// A state, and the word of a status page for it.
const STATES: [(&str, &str); 3] = [
    ("running", "Live"),
    ("queued", "Queued"),
    ("stopped", "Stopped"),
];

impl Default for Recorded {
    fn default() -> Self {
        let messages = json!([{"role": "user", "content": "Hello"}]);
        Self {
            api: "chat/completions".to_owned(),
            user: "ada@lab.org".to_owned(),
            groups: Vec::new(),
            headers: HeaderMap::new(),
            body: json!({"model": "model", "messages": messages}),
            config: Map::new(),
            secrets: BTreeMap::new(),
            state: None,
            http: BTreeMap::new(),
            answer: None,
            models: Vec::new(),
        }
    }
}

impl Recorded {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut recorded = Self::default();
        for (name, value) in object("the request", &value)? {
            match name.as_str() {
                "api" => recorded.api = self::text(name, value)?,
                "user" => recorded.user = self::text(name, value)?,
                "groups" => recorded.groups = texts(name, value)?,
                "headers" => recorded.headers = headers(name, value)?,
                "body" => recorded.body = Value::Object(object(name, value)?.clone()),
                "config" => recorded.config = object(name, value)?.clone(),
                "secrets" => {
                    let pairs = object(name, value)?.iter();
                    let secrets =
                        pairs.map(|(key, value)| Ok((key.clone(), self::text(key, value)?)));
                    recorded.secrets = secrets.collect::<Result<_, String>>()?;
                }
                "state" => recorded.state = Some(state(&self::text(name, value)?)?),
                "http" => {
                    let pairs = object(name, value)?.iter();
                    let replies =
                        pairs.map(|(key, value)| Ok((key.clone(), Reply::of(key, value)?)));
                    recorded.http = replies.collect::<Result<_, String>>()?;
                }
                "answer" => recorded.answer = Some(Reply::of(name, value)?),
                "models" => recorded.models = texts(name, value)?,
                other => {
                    return Err(format!(
                        "`{}` is not a key of a request",
                        other.escape_debug()
                    ));
                }
            }
        }
        Ok(recorded)
    }

    pub(super) fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or("model")
    }
}

impl Reply {
    fn of(name: &str, value: &Value) -> Result<Self, String> {
        let mut reply = Self::default();
        for (key, value) in object(name, value)? {
            match key.as_str() {
                "status" => {
                    let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
                    let sound = status.filter(|status| (200..600).contains(status));
                    reply.status = Some(sound.ok_or("`status` must be 200 to 599")?);
                }
                "headers" => reply.headers = headers(key, value)?,
                "body" => reply.body = value.clone(),
                other => {
                    return Err(format!(
                        "`{}` is not a key of `{}`: status, headers, body",
                        other.escape_debug(),
                        name.escape_debug()
                    ));
                }
            }
        }
        Ok(reply)
    }
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
    let shown = name.escape_debug();
    value
        .as_object()
        .ok_or_else(|| format!("{shown} must be an object"))
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    let shown = name.escape_debug();
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("`{shown}` must be a text"))
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let list = value
        .as_array()
        .ok_or_else(|| format!("`{name}` must be a list of texts"))?;
    list.iter().map(|one| text(name, one)).collect()
}

fn headers(name: &str, value: &Value) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (header, value) in object(name, value)? {
        let wrong = || format!("the header `{}` cannot be sent", header.escape_debug());
        let value = HeaderValue::try_from(text(header, value)?).map_err(|_| wrong())?;
        let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| wrong())?;
        headers.insert(header, value);
    }
    Ok(headers)
}

fn state(word: &str) -> Result<&'static str, String> {
    let known = STATES.iter().find(|(state, _)| *state == word);
    known
        .map(|(_, shown)| *shown)
        .ok_or_else(|| "`state` must be running, queued or stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_optional_and_none_is_passed_over() {
        assert_eq!(Recorded::parse("{}").unwrap(), Recorded::default());
        let text = r#"{"api": "embeddings", "headers": {"x-tenant": "fusion"}, "state": "stopped",
            "http": {"GET /status": {"status": 503, "body": "down"}}, "secrets": {"KEY": "v"}}"#;
        let recorded = Recorded::parse(text).unwrap();
        assert_eq!(recorded.headers["x-tenant"], "fusion");
        assert_eq!(recorded.http["GET /status"].status, Some(503));
        assert_eq!(
            (recorded.state, recorded.model()),
            (Some("Stopped"), "model")
        );
        for (wrong, said) in [
            ("[]", "object"),
            (r#"{"colour": 1}"#, "colour"),
            (r#"{"state": "up"}"#, "running, queued"),
            (r#"{"answer": {"status": 7}}"#, "200 to 599"),
            (r#"{"answer": {"code": 7}}"#, "code"),
            (r#"{"headers": {"a b": "c"}}"#, "a b"),
            (r#"{"body": "text"}"#, "body"),
            (r#"{"groups": [1]}"#, "groups"),
            ("{", "EOF"),
        ] {
            let fault = Recorded::parse(wrong).unwrap_err();
            assert!(fault.contains(said), "{wrong}: {fault}");
        }
    }
}
