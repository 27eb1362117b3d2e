mod backend;
mod limits;
mod request;
mod sign_in;

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use ostia_core::{JournalFull, Level, Measure, Scope, StoreError};

use self::backend::from_fault;
use crate::listen::REPLICA;
use crate::listings::measure_word;
use crate::refusal::{AnswerFault, Refusal};
use crate::register::RegisterFault;
use crate::routes::Astray;

/// How long a caller should wait if nothing better is known.
const SHORTLY: Duration = Duration::from_secs(5);
/// A model that a scheduler starts is not ready before its state is next polled.
const NOT_RUNNING: Duration = Duration::from_secs(60);
/// Minutes are counted in seconds, so that the last of one is over a moment later.
const A_MINUTE_AT_MOST: Duration = Duration::from_secs(61);

impl Refusal {
    /// `astray`: what is wrong with the base URL that made the path.
    pub fn not_found(astray: Option<&Astray>) -> Self {
        let why = astray.map_or_else(
            || ". Inference is under `/v1` and `/{cluster}/{framework}/v1`".to_owned(),
            |Astray { fault, meant }| format!(": {fault}; did you mean `{meant}`?"),
        );
        let end = if astray.is_some() { "" } else { ";" };
        Self::client(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is nothing at this path{why}{end} `GET /docs` lists all paths."),
        )
        .permanent()
    }

    /// The admin listener has other paths than the gateway.
    pub fn not_an_admin_path() -> Self {
        Self::client(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing at this path: this is the admin listener, with `/health/live`, `/health/ready`, `/metrics` \
             and `/admin/...`. Inference is on `server.listen`.",
        )
        .permanent()
    }

    /// For failures that nobody foresaw. The cause has already been logged.
    pub fn internal_error() -> Self {
        Self::gateway(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The gateway failed unexpectedly.",
        )
    }

    /// The response that a call continues is somebody else's, another endpoint's, or too old.
    pub fn previous_response_not_found() -> Self {
        Self::client(
            StatusCode::BAD_REQUEST,
            "previous_response_not_found",
            "The previous response is not known here: it must be one that you made through the same model's endpoint, \
             not long ago. Send the whole conversation as 'input' instead.",
        )
        .with_param("previous_response_id")
    }

    /// A stored response that is somebody else's, was never there or is too old.
    pub fn response_not_found() -> Self {
        Self::client(
            StatusCode::NOT_FOUND,
            "not_found",
            "The response is not known here: it must be one that you made through this gateway, not long ago.",
        )
        .with_param("response_id")
    }

    pub fn stored_stream() -> Self {
        Self::client(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            "A stored response is not served as a stream: leave 'stream' out.",
        )
        .with_param("stream")
    }

    /// RFC 9110 section 15.5.22.
    pub fn no_websocket() -> Self {
        Self::client(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_not_supported",
            "This path serves no WebSocket: send the request with POST.",
        )
        .with_header("upgrade", HeaderValue::from_static("HTTP/1.1"))
        .with_header("connection", HeaderValue::from_static("upgrade"))
        .permanent()
    }

    pub fn method_not_allowed(allow: &str) -> Self {
        let text = format!("This path does not support this method, only {allow}.");
        let refusal =
            Self::client(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text).permanent();
        match HeaderValue::try_from(allow) {
            Ok(allow) => refusal.with_header("allow", allow),
            Err(_) => refusal,
        }
    }

    /// The client was promised a stream, and the backend sent something else.
    pub fn not_a_stream() -> Self {
        from_fault(AnswerFault::NotJson)
    }

    /// The drain limit has passed and there is no response yet.
    pub fn shutting_down() -> Self {
        from_fault(AnswerFault::ShuttingDown).with_retry_after(SHORTLY)
    }

    /// Whoever was disabled, before or in the middle of a request.
    pub fn account_disabled() -> Self {
        Self::client(
            StatusCode::FORBIDDEN,
            "account_disabled",
            "This account is disabled. Please ask the operators.",
        )
        .permanent()
    }

    pub fn not_implemented() -> Self {
        Self::client(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            "This API is not served by this gateway.",
        )
        .permanent()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        store_unavailable().with_detail(error.to_string())
    }
}

impl From<RegisterFault> for Refusal {
    fn from(fault: RegisterFault) -> Self {
        let text = fault.to_string();
        let refused = |status, code| Self::client(status, code, text);
        match fault {
            RegisterFault::NoRegistrar => refused(StatusCode::FORBIDDEN, "policy_denied"),
            RegisterFault::NoEndpoint(_) => refused(StatusCode::NOT_FOUND, "not_found"),
            RegisterFault::Value(..)
            | RegisterFault::Url(_)
            | RegisterFault::NoAddress(_)
            | RegisterFault::NoTunnel => refused(StatusCode::BAD_REQUEST, "invalid_value"),
            RegisterFault::From(..) => refused(StatusCode::FORBIDDEN, "policy_denied"),
            RegisterFault::Address(..) => {
                refused(StatusCode::FORBIDDEN, "policy_denied").with_param("url")
            }
            RegisterFault::Held(replica) => {
                let name = HeaderValue::from_str(&replica);
                let name = name.unwrap_or_else(|_| HeaderValue::from_static(""));
                refused(StatusCode::CONFLICT, "conflict").with_header(REPLICA, name)
            }
            RegisterFault::Gone => refused(StatusCode::GONE, "lease_gone"),
            RegisterFault::Stale(_) | RegisterFault::Taken | RegisterFault::TooMany => {
                refused(StatusCode::CONFLICT, "conflict")
            }
            RegisterFault::TooOften(wait) => {
                refused(StatusCode::TOO_MANY_REQUESTS, "requests").with_retry_after(wait)
            }
            RegisterFault::Store(error) => error.into(),
        }
    }
}

fn store_unavailable() -> Refusal {
    Refusal::gateway(
        StatusCode::SERVICE_UNAVAILABLE,
        "store_unavailable",
        "The gateway cannot reach its records right now. Please try again shortly.",
    )
    .with_retry_after(SHORTLY)
}

/// Whole ones, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The same for the log, in the words of `GET /v1/limits`.
fn limit_detail(scope: Scope, measure: Measure, level: Option<&Level>, wait: Duration) -> String {
    let limit = format!("limit {} {}", scope.as_str(), measure_word(measure));
    let numbers = level.map_or_else(String::new, |level| {
        let Level {
            limit, used, owed, ..
        } = level;
        format!(": {limit}, used {used}, owed {owed}")
    });
    match measure {
        Measure::Balance => format!("{limit}{numbers}"),
        _ => format!("{limit}{numbers}, free in {} s", seconds(wait)),
    }
}

impl From<JournalFull> for Refusal {
    fn from(_: JournalFull) -> Self {
        store_unavailable().with_detail("the journal is full or cannot be written")
    }
}
