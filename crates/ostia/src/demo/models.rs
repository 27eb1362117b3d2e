use std::time::Duration;

use ostia_engine::Fault;

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
