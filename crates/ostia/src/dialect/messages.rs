//! Anthropic's `messages` and `messages/count_tokens`.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::event::{is_reason, kind_of, names_usage, usages_in};
use super::facts::{CAPS, COMMON, OPTIONS, RequestFacts};
use super::{Answers, Dialect, Invalid, Progress, Seen, Service, openai};
use crate::refusal::{AnswerFault, Refusal};
use crate::scan::{self, FieldKey, Fields, Keys, Spot};

#[derive(Debug)]
pub(super) struct Messages;

static SERVICES: [Service; 2] = [
    Service::of_text("messages"),
    Service::new("messages/count_tokens", Answers::Object).without_model(),
];
/// Found, where other dialects only count it.
const SYSTEM: FieldKey = FieldKey::placed("system");
static KEYS: Keys = Keys::of(&[
    &[SYSTEM],
    COMMON,
    OPTIONS,
    &CAPS,
    &[
        FieldKey::prompt("messages"),
        FieldKey::watched("container", Spot::Container),
    ],
]);

/// A block of `system`.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// A `message_delta`.
#[derive(Deserialize)]
struct MessageDelta<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default, borrow)]
    stop_reason: Option<&'a RawValue>,
}

impl Dialect for Messages {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    fn read(&self, fields: &Fields<'_>, facts: &mut RequestFacts) -> Result<(), Invalid> {
        facts.billing_block = fields.given(SYSTEM).and_then(billing_block);
        facts.generates_one(fields)
    }

    fn has_terminal_event(&self) -> bool {
        true
    }

    fn event(&self, data: &[u8], length: usize, progress: &mut Progress) -> Seen {
        if names_usage(data) {
            usages_in(data, progress);
        }
        match &*kind_of(data) {
            "message_stop" => Seen::Terminal,
            "message_delta" => {
                let delta = serde_json::from_slice::<MessageDelta<'_>>(data);
                if delta.is_ok_and(|event| event.delta.stop_reason.is_some_and(is_reason)) {
                    progress.choice_ended(0);
                }
                Seen::Forward
            }
            "error" => {
                progress.fail(data);
                Seen::Forward
            }
            "content_block_delta" => {
                progress.text(length);
                Seen::Forward
            }
            _ => Seen::Forward,
        }
    }

    fn text_member(&self) -> Option<&'static str> {
        Some("content")
    }

    fn counted(&self, estimate: u64) -> Bytes {
        let body = json!({"input_tokens": estimate, "estimated": true});
        body.to_string().into()
    }

    fn status(&self, backend: StatusCode) -> StatusCode {
        backend
    }

    fn error(&self, refusal: &Refusal) -> Bytes {
        let relayed = refusal.body.as_ref();
        relayed
            .and_then(|body| relayed_error(body, refusal))
            .unwrap_or_else(|| own_error(refusal))
    }

    fn refused_end(&self, refusal: &Refusal) -> Bytes {
        let mut told = openai::refused(refusal);
        told["type"] = "error".into();
        let kind = told["error"]["type"].as_str().unwrap_or_default();
        if !KINDS.contains(&kind) {
            told["error"]["type"] = kind_of_status(refusal.status.as_u16()).into();
        }
        format!("event: error\ndata: {told}\n\n").into()
    }

    fn broken_end(&self, fault: AnswerFault, _events: u64) -> Bytes {
        let (code, message) = (fault.code(), fault.message());
        let error = json!({"type": "error", "error": {"type": "api_error", "message": message, "code": code}});
        format!("event: error\ndata: {error}\n\n").into()
    }
}

/// The first block of `system`, with the comma behind it, if Claude Code counts its requests there.
fn billing_block(system: scan::Value<'_>) -> Option<Range<usize>> {
    const MARK: &str = "x-anthropic-billing-header:";
    /// No such block is longer, and no other is read.
    const LONGEST: usize = 1024;
    let blocks = system.raw().strip_prefix('[')?;
    let near = &blocks.as_bytes()[..blocks.len().min(LONGEST)];
    memchr::memmem::find(near, MARK.as_bytes())?;
    let mut elements = serde_json::Deserializer::from_str(blocks).into_iter::<Block<'_>>();
    let is_billing = elements.next()?.ok()?.text.starts_with(MARK);
    let behind = &blocks[elements.byte_offset()..];
    let rest = behind.trim_start();
    let rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    let start = system.range().start + 1;
    is_billing.then(|| start..start + blocks.len() - rest.len())
}

fn own_error(refusal: &Refusal) -> Bytes {
    let mut error = openai::error(refusal);
    error["error"]["type"] = kind_of_status(refusal.status.as_u16()).into();
    error["type"] = "error".into();
    error.to_string().into()
}

/// A backend's error for Anthropic's clients: unchanged if it already has their shape, otherwise its message in that
/// shape; `None` if it has no message.
fn relayed_error(body: &Bytes, refusal: &Refusal) -> Option<Bytes> {
    let mut error: Value = serde_json::from_slice(body).ok()?;
    let has_word = error["error"]["type"]
        .as_str()
        .is_some_and(|kind| KINDS.contains(&kind));
    if error["type"] == "error" && has_word {
        return Some(body.clone());
    }
    let inner = error["error"].as_object_mut()?;
    if !has_word {
        let kind = kind_of_status(refusal.status.as_u16());
        inner.insert("type".to_owned(), kind.into());
    }
    if !inner.get("message").is_some_and(Value::is_string) {
        inner.insert("message".to_owned(), refusal.message.as_ref().into());
    }
    error["type"] = "error".into();
    Some(error.to_string().into())
}

/// Anthropic's values of `error.type` (API reference, "Errors").
const KINDS: [&str; 10] = [
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
];

/// The error type for a status.
fn kind_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use serde_json::{Value, json};

    use super::{Dialect, Messages};
    use crate::refusal::Refusal;

    fn refusal(status: u16, body: Bytes) -> Refusal {
        let mut refusal = Refusal::client(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            "The server refused.",
        );
        refusal.status = StatusCode::from_u16(status).unwrap();
        refusal.body = Some(body);
        refusal
    }

    fn relayed(status: u16, body: &Value) -> Value {
        let bytes = Messages.error(&refusal(status, Bytes::from(body.to_string())));
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn anthropics_own_errors_pass_byte_for_byte() {
        let body = Bytes::from_static(
            br#"{ "type":"error", "error":{"type":"overloaded_error","message":"x"},"request_id":"r" }"#,
        );
        assert_eq!(Messages.error(&refusal(400, body.clone())), body);
    }

    #[test]
    fn other_errors_are_told_in_anthropics_words() {
        for (status, kind, word) in [
            (400, "BadRequestError", "invalid_request_error"),
            (404, "NotFoundError", "not_found_error"),
            (413, "x", "request_too_large"),
            (429, "rate_limit_error", "rate_limit_error"),
            (503, "ServiceUnavailable", "overloaded_error"),
        ] {
            let openai =
                json!({"error": {"message": "too long", "type": kind, "code": 400, "param": null}});
            let told = relayed(status, &openai);
            assert_eq!(told["type"], "error");
            assert_eq!(told["error"]["type"], word, "{status}");
            assert_eq!(told["error"]["message"], "too long");
            assert_eq!(told["error"]["code"], 400);
        }
        let silent = relayed(400, &json!({"error": {}}));
        assert_eq!(silent["error"]["message"], "The server refused.");
    }
}
