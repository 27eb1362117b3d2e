use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::Value;

use super::decoded::decoded;
use super::disclosure::tells_too_much;
use super::head::essence;
use super::told::Told;
use crate::catalog::Target;
use crate::upstream::BodyError;

/// A longer body is not an error message.
const LONGEST: usize = 64 * 1024;
/// A longer text, or one of several lines, is a page or a trace.
const LONGEST_PLAIN: usize = 1024;

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
    let plain = decoded(bytes.freeze(), headers, LONGEST).await;
    let text = plain.and_then(|body| judge(&body, headers));
    match text {
        Some(text) if !text.tells_too_much(target) => text,
        _ => RefusalText::Withheld,
    }
}

pub(super) fn judge(body: &Bytes, headers: &HeaderMap) -> Option<RefusalText> {
    if essence(headers).eq_ignore_ascii_case("text/plain")
        && let Some(text) = plain(body)
    {
        return Some(RefusalText::Told(text));
    }
    let json = body.slice_ref(data_of(body));
    // If it cannot be decoded completely, escapes could hide anything in it.
    let value: Value = serde_json::from_slice(&json).ok()?;
    match value["error"].is_object() {
        true => Some(RefusalText::Whole(json)),
        false => Told::find(&value).map(RefusalText::Told),
    }
}

/// The JSON of a body: without a byte order mark, and without what makes it an event.
fn data_of(body: &[u8]) -> &[u8] {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.strip_prefix(b"data:").unwrap_or(body)
}

/// A line of text, as proxies and small servers write it. JSON is often labelled as text too.
fn plain(body: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let is_line = text.len() <= LONGEST_PLAIN
        && !text.starts_with(['{', '[', '<'])
        && !text.starts_with("data:")
        && !text.contains(char::is_control);
    is_line.then(|| Told::text(text)).flatten()
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
