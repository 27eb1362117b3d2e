use std::sync::Arc;

use http::Method;
use ostia_core::Outcome;

use super::names::{operation, provider};
use super::proto::{
    CLIENT, ERROR, KeyValue, Resource, ResourceSpans, SERVER, ScopeSpans, Span, Status, Traces,
};
use super::resource::scope;
use crate::catalog::Deployment;
use crate::live::Live;
use crate::telemetry::TracedRequest;

/// Flags of a span beside those of its context: it is known whether its parent is in another process, and it is.
const REMOTENESS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// The spans of requests. `live` tells where their endpoints are.
pub(super) fn spans(requests: &[TracedRequest], live: &Live, resource: Resource) -> Traces {
    let scheme = match live.settings.server.tls_cert {
        Some(_) => "https",
        None => "http",
    };
    let mut spans = Vec::new();
    for request in requests {
        spans.push(request_span(request, scheme));
        let deployment = live.catalog.deployment(&request.endpoint);
        spans.extend(call_span(request, deployment));
    }
    Traces {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans,
            }],
        }],
    }
}

/// The gateway's own: from the request's head to the end of the answer.
fn request_span(request: &TracedRequest, scheme: &str) -> Span {
    let route = request.route.replace("{api}", &request.api);
    let mut attributes = vec![
        KeyValue::new("http.request.method", request.method.as_str()),
        KeyValue::new("http.route", &*route),
        KeyValue::new("http.response.status_code", u64::from(request.status)),
        KeyValue::new("url.path", &*request.path),
        KeyValue::new("url.scheme", scheme),
        KeyValue::new("ostia.request_id", &*request.id.to_string()),
        KeyValue::new("ostia.outcome", request.outcome.as_str()),
        KeyValue::new("ostia.queue_duration", seconds(request.queue_ms)),
    ];
    attributes.extend(error_type(request));
    let remote = request.parent.map_or(0, |_| PARENT_IS_REMOTE);
    Span {
        trace_id: request.trace_id.to_vec(),
        span_id: request.request_span().to_vec(),
        parent_span_id: request.parent.map(Vec::from).unwrap_or_default(),
        name: format!("{} {route}", request.method),
        kind: SERVER,
        start_time_unix_nano: nanos(request.began),
        end_time_unix_nano: nanos(request.ended),
        attributes,
        // What a client did wrong is no fault of the server.
        status: Some(status(request.status >= 500)),
        flags: u32::from(request.flags) | REMOTENESS_KNOWN | remote,
    }
}

/// The call of the backend, with all retries. `None`: there was none.
fn call_span(request: &TracedRequest, deployment: Option<&Arc<Deployment>>) -> Option<Span> {
    let sent = i64::try_from(request.sent?).unwrap_or(i64::MAX);
    let name = match request.method {
        Method::POST => operation(&request.api),
        // An earlier answer, or its deletion.
        _ => "fetch_response",
    };
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", name),
        KeyValue::new("gen_ai.provider.name", provider(&request.api)),
        KeyValue::new("gen_ai.request.model", &*request.model),
        KeyValue::new("gen_ai.request.stream", request.stream),
        KeyValue::new("gen_ai.response.model", &*request.served_model),
        KeyValue::new("ostia.api", &*request.api),
        KeyValue::new("ostia.cluster", &*request.cluster),
        KeyValue::new("ostia.endpoint", &*request.endpoint),
        KeyValue::new("ostia.attempts", u64::from(request.attempts)),
    ];
    if let Some(deployment) = deployment {
        let origin = &deployment.target.origin;
        attributes.push(KeyValue::new("server.address", &*origin.host));
        attributes.push(KeyValue::new("server.port", u64::from(origin.port)));
    }
    let used = [
        ("gen_ai.usage.input_tokens", request.prompt_tokens),
        ("gen_ai.usage.output_tokens", request.completion_tokens),
        (
            "gen_ai.usage.cache_read.input_tokens",
            request.cached_tokens,
        ),
        (
            "gen_ai.usage.reasoning.output_tokens",
            request.reasoning_tokens,
        ),
    ];
    let used = used.into_iter().filter(|(_, tokens)| *tokens > 0);
    attributes.extend(used.map(|(name, tokens)| KeyValue::new(name, tokens)));
    if let Some(first) = request.ttft_ms.filter(|_| request.stream) {
        let name = "gen_ai.response.time_to_first_chunk";
        attributes.push(KeyValue::new(name, seconds(first)));
    }
    attributes.extend(error_type(request));
    Some(Span {
        trace_id: request.trace_id.to_vec(),
        span_id: request.call_span().to_vec(),
        parent_span_id: request.request_span().to_vec(),
        name: format!("{name} {}", request.model),
        kind: CLIENT,
        start_time_unix_nano: nanos(request.began.saturating_add(sent).min(request.ended)),
        end_time_unix_nano: nanos(request.ended),
        attributes,
        status: Some(status(request.outcome != Outcome::Ok)),
        flags: u32::from(request.flags) | REMOTENESS_KNOWN,
    })
}

/// The code that the caller got, or if it got none, how the request ended.
fn error_type(request: &TracedRequest) -> Option<KeyValue> {
    let kind = match (request.outcome, &*request.code) {
        (Outcome::Ok, _) => return None,
        (outcome, "") => outcome.as_str(),
        (_, code) => code,
    };
    Some(KeyValue::new("error.type", kind))
}

fn status(is_error: bool) -> Status {
    Status {
        code: if is_error { ERROR } else { 0 },
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}

fn nanos(unix_micros: i64) -> u64 {
    u64::try_from(unix_micros)
        .unwrap_or(0)
        .saturating_mul(1_000)
}
