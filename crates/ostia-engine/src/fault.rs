use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

/// What a model does instead of answering well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers well.
    None,
    /// Waits before the first token.
    Slow(Duration),
    /// Waits as long before the first token and again in the middle.
    Halting(Duration),
    /// Never answers.
    Silent,
    /// Breaks the connection in the middle.
    Broken,
    /// Reports an error in the middle of a stream.
    ErrorInStream,
    /// An answer of this status.
    Status(u16),
    /// 200 with a page instead of JSON.
    Page,
}

/// The body that goes with a status, as engines write them.
pub(crate) fn body_of(status: StatusCode) -> Value {
    let openai = |message: &str, kind: &str, code: Value| json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    match status.as_u16() {
        400 => openai(
            "This model's maximum context length is 8 tokens. Please reduce the length of the messages.",
            "BadRequestError",
            json!("context_length_exceeded"),
        ),
        404 => openai(
            "The model does not exist.",
            "NotFoundError",
            json!("model_not_found"),
        ),
        422 => {
            json!({"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "missing"}]})
        }
        429 => openai(
            "Too many requests. Please try again in two seconds.",
            "rate_limit_error",
            json!("rate_limit_exceeded"),
        ),
        503 => openai(
            "The engine is overloaded.",
            "ServiceUnavailableError",
            json!(503),
        ),
        _ => openai(
            "Internal error at /opt/engine/worker.py:42",
            "InternalServerError",
            json!(status.as_u16()),
        ),
    }
}
