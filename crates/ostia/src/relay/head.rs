use http::{HeaderMap, HeaderName, HeaderValue, header, response};

use super::Context;
use crate::read::{Api, Dialect};

/// What an answer's head promises.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// 2xx, server-sent events.
    Events,
    /// 2xx, anything else. `json_due`: it must be one JSON object.
    Bulk { json_due: bool },
    /// A refusal that the client may see.
    Refusal,
    /// The gateway's own key was refused.
    KeyRefused,
    /// Nothing a client could use.
    Unusable,
}

/// Reads the status and the content type.
pub(super) fn meaning(head: &response::Parts, context: &Context) -> Meaning {
    match head.status.as_u16() {
        200..=299 if context.stream && is_events(&head.headers) => Meaning::Events,
        200..=299 if !context.stream && is_events(&head.headers) && json_due(&context.api) => {
            Meaning::Unusable
        }
        200..=299 => Meaning::Bulk {
            json_due: json_due(&context.api) && !is_encoded(&head.headers),
        },
        400 | 404 | 409 | 413 | 422 | 429 | 503 => Meaning::Refusal,
        401 | 403 => Meaning::KeyRefused,
        _ => Meaning::Unusable,
    }
}

/// The headers that clients get of a backend's answer; `content-length` comes from the body itself.
pub(super) fn client_headers(backend: &HeaderMap, context: &Context) -> HeaderMap {
    const PASSED: [HeaderName; 4] = [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::RETRY_AFTER,
        HeaderName::from_static("openai-processing-ms"),
    ];
    let mut headers = HeaderMap::with_capacity(8);
    for name in PASSED {
        if let Some(value) = backend.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    for (name, value) in backend_limits(backend, context) {
        headers.append(name, value);
    }
    headers
}

/// What a stream's head says besides: no cache and no proxy may hold it back.
pub(super) fn add_stream_headers(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
}

/// The headers that clients get of a backend's refusal.
pub(super) fn refusal_headers(
    backend: &HeaderMap,
    context: &Context,
) -> Vec<(HeaderName, HeaderValue)> {
    let retry_after = backend.get(header::RETRY_AFTER);
    retry_after
        .map(|value| (header::RETRY_AFTER, value.clone()))
        .into_iter()
        .chain(backend_limits(backend, context))
        .collect()
}

/// The backend's own limits, which would contradict ours.
fn backend_limits(
    backend: &HeaderMap,
    context: &Context,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let is_shown = context.show_backend_limits;
    backend
        .iter()
        .filter(move |(name, _)| is_shown && name.as_str().starts_with("x-ratelimit-"))
        .map(|(name, value)| (name.clone(), value.clone()))
}

/// Whether a stream of this api ends with an event that says so.
pub(super) fn has_terminal_event(api: &Api) -> bool {
    matches!(api, Api::ChatCompletions | Api::Completions) || api.dialect() != Dialect::OpenAi
}

fn is_events(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Speech, transcripts and pictures come as they like; everything else answers in JSON.
fn json_due(api: &Api) -> bool {
    let name = api.as_str();
    !name.starts_with("audio/") && !name.starts_with("images/")
}
