use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::MODEL;

/// A model of the simulated backend.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    pub name: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// The longest silence that the gateway bears.
    pub(super) patience_seconds: u32,
    pub(super) fault: Fault,
}

/// What a model does instead of answering well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
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

const PATIENCE: u32 = 60;

/// Every model, the sound ones first.
pub const MODELS: [Model; 15] = [
    model(MODEL, "answers every API", Fault::None),
    model("demo-embedding", "the same, for embeddings", Fault::None),
    model(
        "demo-slow",
        "its first token comes after five seconds",
        Fault::Slow(Duration::from_secs(5)),
    ),
    model(
        "demo-halting",
        "is silent for three seconds before its first token, and again in the middle",
        Fault::Halting(Duration::from_secs(3)),
    ),
    Model {
        patience_seconds: 2,
        ..model(
            "demo-silent",
            "never answers: 504 after two seconds",
            Fault::Silent,
        )
    },
    model(
        "demo-broken-stream",
        "its connection breaks in the middle",
        Fault::Broken,
    ),
    model(
        "demo-error-in-stream",
        "reports an error in the middle",
        Fault::ErrorInStream,
    ),
    model(
        "demo-rate-limited",
        "429 with Retry-After",
        Fault::Status(429),
    ),
    model(
        "demo-error-400",
        "400: the context is too long",
        Fault::Status(400),
    ),
    model(
        "demo-error-401",
        "refuses the gateway's key: 502",
        Fault::Status(401),
    ),
    model("demo-error-404", "404 of the engine", Fault::Status(404)),
    model(
        "demo-error-422",
        "422 in FastAPI's words",
        Fault::Status(422),
    ),
    model(
        "demo-error-500",
        "500 with a stack trace: 502",
        Fault::Status(500),
    ),
    model("demo-error-503", "503 with Retry-After", Fault::Status(503)),
    model("demo-html", "a page where JSON is due: 502", Fault::Page),
];

const fn model(name: &'static str, what: &'static str, fault: Fault) -> Model {
    Model {
        name,
        what,
        patience_seconds: PATIENCE,
        fault,
    }
}

/// `None`: there is no such model.
pub(super) fn fault_of(model: &str) -> Option<Fault> {
    let found = MODELS.iter().find(|known| known.name == model);
    found.map(|known| known.fault)
}

/// The body that goes with a status, as engines write them.
pub(super) fn body_of(status: StatusCode) -> Value {
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
