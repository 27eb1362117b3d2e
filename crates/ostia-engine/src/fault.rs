use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

/// How a model misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// Waits before the first token.
    Slow(Duration),
    /// Waits this long before the first token, and again in the middle.
    Halting(Duration),
    /// Never answers.
    Silent,
    /// Breaks the connection in the middle.
    Broken,
    /// Reports an error in the middle of a stream.
    ErrorInStream,
    /// Answers with this status.
    Status(u16),
    /// Answers 200 with a page instead of JSON.
    Page,
}

/// The error body of a status, as engines write it.
pub(crate) fn body_of(status: StatusCode) -> Value {
    let (kind, code, message) = match status.as_u16() {
        422 => {
            let missing =
                json!({"loc": ["body", "messages"], "msg": "field required", "type": "missing"});
            return json!({"detail": [missing]});
        }
        400 => (
            "BadRequestError",
            json!("context_length_exceeded"),
            "This model's maximum context length is 8 tokens. Please reduce the length of the messages.",
        ),
        404 => (
            "NotFoundError",
            json!("model_not_found"),
            "The model does not exist.",
        ),
        429 => (
            "rate_limit_error",
            json!("rate_limit_exceeded"),
            "Too many requests. Please try again in two seconds.",
        ),
        503 => (
            "ServiceUnavailableError",
            json!(503),
            "The engine is overloaded.",
        ),
        other => (
            "InternalServerError",
            json!(other),
            "Internal error at /opt/engine/worker.py:42",
        ),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
