use http::{HeaderMap, HeaderName, HeaderValue, header, response};

use super::Context;
use super::form::{is_limit, shown};
use crate::dialect::{Answers, Api};

/// What a response head announces.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// 2xx, server-sent events.
    Events,
    /// 2xx, anything else.
    Bulk(Form),
    /// The backend cannot count tokens; so many are estimated.
    Uncounted(u64),
    /// A refusal that the client may see.
    Refusal,
    /// The gateway's own key, or its proxy's user, was refused.
    KeyRefused,
    /// Nothing usable for a client.
    Unusable,
}

/// What a response that is not a stream must be.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Form {
    /// One JSON object.
    Object,
    /// Any JSON.
    Json,
    /// Anything. `waits`: it may be held until it is complete.
    Any { waits: bool },
}

/// Reads the status and the content type.
pub(super) fn meaning(head: &response::Parts, context: &Context) -> Meaning {
    if let Some(estimate) = context.count_estimate
        && matches!(head.status.as_u16(), 404 | 405 | 501)
    {
        return Meaning::Uncounted(estimate);
    }
    match head.status.as_u16() {
        // Speech is requested as events by a parameter other than `stream`.
        200..=299 if is_events(&head.headers) => {
            let asked = context.stream || context.api.answers_with_media();
            match (asked, is_encoded(&head.headers)) {
                (false, _) => Meaning::Unusable,
                (true, false) => Meaning::Events,
                // The gateway can neither read it nor insert anything into it.
                (true, true) => Meaning::Bulk(Form::Any { waits: false }),
            }
        }
        // Accepted, not answered: its result would reach nobody and be counted nowhere.
        202 if context.api.runs_a_model() => Meaning::Unusable,
        // A part of an answer, which nobody asked for.
        206 => Meaning::Unusable,
        // Without its header nobody could read it.
        200..=299 if !is_known_encoding(&head.headers, context) => Meaning::Unusable,
        200..=299 => Meaning::Bulk(form(&head.headers, &context.api)),
        // 407 comes from a proxy between the gateway and the backend.
        401 | 403 | 407 => Meaning::KeyRefused,
        400..=499 | 503 | 529 => Meaning::Refusal,
        _ => Meaning::Unusable,
    }
}

/// The response headers that clients get; `content-length` comes from the body itself.
pub(super) fn client_headers(backend: &HeaderMap, context: &Context) -> HeaderMap {
    const PASSED: [HeaderName; 4] = [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::RETRY_AFTER,
        HeaderName::from_static("openai-processing-ms"),
    ];
    let mut headers = HeaderMap::with_capacity(8);
    let target = &context.deployment.target;
    for name in PASSED {
        let value = backend.get(&name);
        if let Some(value) = value.and_then(|value| shown(&name, value, target)) {
            headers.insert(name, value);
        }
    }
    for (name, value) in backend_limits(backend, context) {
        headers.append(name, value);
    }
    if is_events(backend) {
        add_stream_headers(&mut headers);
    }
    headers
}

/// The head of a stream that has not begun.
pub fn stream_head() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    add_stream_headers(&mut headers);
    headers
}

/// Keeps caches and proxies from holding a stream back.
fn add_stream_headers(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
}

/// The headers of a backend's refusal that clients get.
pub(super) fn refusal_headers(
    backend: &HeaderMap,
    context: &Context,
) -> Vec<(HeaderName, HeaderValue)> {
    let retry_after = backend.get(header::RETRY_AFTER);
    retry_after
        .and_then(|value| shown(&header::RETRY_AFTER, value, &context.deployment.target))
        .map(|value| (header::RETRY_AFTER, value))
        .into_iter()
        .chain(backend_limits(backend, context))
        .collect()
}

/// The backend's own rate-limit headers, which would contradict ours.
fn backend_limits(backend: &HeaderMap, context: &Context) -> Vec<(HeaderName, HeaderValue)> {
    let is_shown = context.show_backend_limits;
    let target = &context.deployment.target;
    backend
        .iter()
        .filter(|(name, _)| is_shown && is_limit(name))
        .filter_map(|(name, value)| Some((name.clone(), shown(name, value, target)?)))
        .collect()
}

pub fn is_events(headers: &HeaderMap) -> bool {
    essence(headers).eq_ignore_ascii_case("text/event-stream")
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_known_encoding(headers: &HeaderMap, context: &Context) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING);
    let target = &context.deployment.target;
    coding.is_none_or(|value| shown(&header::CONTENT_ENCODING, value, target).is_some())
}

/// Audio, transcripts and images may have any content type; everything else is JSON. Audio that is generated while it
/// is sent must not be held until its end.
fn form(headers: &HeaderMap, api: &Api) -> Form {
    match api.answers() {
        _ if is_encoded(headers) => Form::Any { waits: true },
        Answers::Media if is_media(headers) => Form::Any {
            waits: headers.contains_key(header::CONTENT_LENGTH),
        },
        Answers::Object => Form::Object,
        Answers::Json | Answers::Media => Form::Json,
    }
}

/// A body labelled JSON must be JSON, and an HTML page comes from some proxy.
fn is_media(headers: &HeaderMap) -> bool {
    let kind = essence(headers);
    !["application/json", "text/html"]
        .iter()
        .any(|other| kind.eq_ignore_ascii_case(other))
}

/// The content type without its parameters.
pub(super) fn essence(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map_or("", str::trim)
}
