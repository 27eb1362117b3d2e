use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::disclosure::tells_too_much;
use crate::catalog::Target;
use crate::upstream::BodyError;

/// A longer body is not an error message.
const LONGEST: usize = 64 * 1024;

/// A backend's refusal, as much of it as a client may see.
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
    /// A bare message (`"error": "..."`, FastAPI's `detail`), to be put into our format.
    Message(String),
    /// Nothing that a client may see.
    Withheld,
}

#[derive(Deserialize)]
struct ErrorBody<'a> {
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
    #[serde(default, borrow)]
    detail: Option<&'a RawValue>,
}

/// Reads a refusal's body, at most 64 KiB of it.
pub(super) async fn read_text<B>(mut body: B, target: &Target) -> RefusalText
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
    judge(bytes.freeze(), target)
}

fn judge(body: Bytes, target: &Target) -> RefusalText {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let Ok(parsed) = serde_json::from_slice::<ErrorBody<'_>>(&body) else {
        return RefusalText::Withheld;
    };
    // If it cannot be decoded as a whole, escapes could hide anything in it.
    let Ok(decoded) = serde_json::from_slice::<serde_json::Value>(&body) else {
        return RefusalText::Withheld;
    };
    if !is_object
        || [&*body, decoded.to_string().as_bytes()]
            .into_iter()
            .any(|text| tells_too_much(text, target))
    {
        return RefusalText::Withheld;
    }
    let told = match (parsed.error, parsed.detail) {
        (Some(error), _) if error.get().starts_with('{') => return RefusalText::Whole(body),
        (Some(error), _) if error.get().starts_with('"') => error,
        (_, Some(detail)) => detail,
        _ => return RefusalText::Withheld,
    };
    let message = serde_json::from_str::<String>(told.get());
    let message = message.unwrap_or_else(|_| told.get().to_owned());
    if tells_too_much(message.as_bytes(), target) {
        return RefusalText::Withheld;
    }
    RefusalText::Message(message)
}
