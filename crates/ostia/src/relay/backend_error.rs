use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::disclosure::tells_too_much;
use super::head::essence;
use super::told::Told;
use crate::catalog::Target;
use crate::codings;
use crate::upstream::BodyError;

/// A longer body is not an error message.
const LONGEST: usize = 64 * 1024;
/// A longer text, or one of more lines, is a page.
const LONGEST_PLAIN: usize = 1024;
const MOST_LINES: usize = 8;

/// The part of a backend's refusal that a client may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendRefusal {
    pub status: StatusCode,
    /// `Retry-After`, and the backend's rate-limit headers if no limit of ours applies.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub text: RefusalText,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalText {
    /// Already in OpenAI's format: passed byte for byte.
    Whole(Bytes),
    /// In another format, to be converted to ours.
    Told(Told),
    /// Nothing that a client may see.
    Withheld,
}

/// Reads a refusal's body, at most 64 KiB of it.
pub(super) async fn read_text<B>(mut body: B, headers: &HeaderMap, target: &Target) -> RefusalText
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return RefusalText::Withheld;
        };
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() > LONGEST {
            return RefusalText::Withheld;
        }
    }
    let plain = codings::plain(bytes.freeze(), headers, LONGEST).await;
    let text = plain.and_then(|body| judge(&body, headers));
    match text {
        Some(text) if !text.tells_too_much(target) => text,
        _ => RefusalText::Withheld,
    }
}

pub(super) fn judge(body: &Bytes, headers: &HeaderMap) -> Option<RefusalText> {
    let body = body.slice_ref(body.strip_prefix(MARK).unwrap_or(&body[..]));
    let json = body.slice_ref(data_of(&body));
    if !begins_as_json(&json) {
        return plain(&body, headers).map(RefusalText::Told);
    }
    // If it cannot be decoded completely, escapes could hide anything in it.
    let value: Value = serde_json::from_slice(&json).ok()?;
    match value["error"].is_object() {
        true => Some(RefusalText::Whole(json)),
        false => Told::find(&value).map(RefusalText::Told),
    }
}

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The JSON of a body: the data of its first event, if it is made of events, or its first line, if each is JSON.
fn data_of(body: &[u8]) -> &[u8] {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b":"));
    let is_field = |line: &&[u8]| {
        let fields = [&b"event:"[..], b"id:", b"retry:"];
        fields.iter().any(|field| line.starts_with(field))
    };
    let Some(first) = lines.by_ref().find(|line| !is_field(line)) else {
        return body;
    };
    if let Some(data) = first.strip_prefix(b"data:") {
        return data;
    }
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    match lines.next().is_some() && begins_as_json(first) && is_json(first) {
        true => first,
        false => body,
    }
}

fn begins_as_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// A few lines of text, as proxies and small servers write them, whatever they call it; neither a page nor a trace.
fn plain(body: &[u8], headers: &HeaderMap) -> Option<Told> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let kind = essence(headers);
    let may_be_text = [
        "",
        "text/plain",
        "application/json",
        "application/octet-stream",
    ]
    .iter()
    .any(|known| kind.eq_ignore_ascii_case(known));
    let is_control = |character: char| character.is_control() && character != '\n';
    let lines = text.lines().count();
    let is_words = may_be_text
        && text.len() <= LONGEST_PLAIN
        && (1..=MOST_LINES).contains(&lines)
        && text.contains(char::is_alphabetic)
        && !["null", "true", "false"].contains(&text)
        && !text.starts_with('<')
        && !text.contains("Traceback (most recent call last)")
        && !text.lines().any(|line| line.starts_with([' ', '\t']))
        && !text.replace("\r\n", "\n").contains(is_control);
    is_words.then(|| Told::text(text)).flatten()
}

impl RefusalText {
    fn tells_too_much(&self, target: &Target) -> bool {
        let tells = |text: &[u8]| tells_too_much(text, target);
        match self {
            Self::Whole(body) => {
                tells(body)
                    || serde_json::from_slice::<Value>(body)
                        .map_or(true, |decoded| tells(decoded.to_string().as_bytes()))
            }
            Self::Told(told) => {
                let code = told.code.as_ref().map(Value::to_string);
                let parts = [Some(&told.message), code.as_ref(), told.param.as_ref()];
                parts
                    .into_iter()
                    .flatten()
                    .any(|text| tells(text.as_bytes()))
            }
            Self::Withheld => false,
        }
    }
}
