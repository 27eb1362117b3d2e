use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use ostia_core::{Blocked, JournalFull, Level, Measure, Outcome, Scope, StoreError};
use serde_json::json;

use crate::admit::{Refused, Shortage, whose};
use crate::authorize::Reserved;
use crate::backend::{self, AdapterError};
use crate::cluster::JobsError;
use crate::codings::ACCEPTED;
use crate::fleet::ModelState;
use crate::identify::SignInError;
use crate::listen::REPLICA;
use crate::listen::Rejection;
use crate::listings::{measure_word, scope_word};
use crate::rank::{NoCandidate, NotServing};
use crate::read::ReadError;
use crate::refusal::{AnswerFault, Refusal, one_line};
use crate::register::RegisterFault;
use crate::relay::{BackendRefusal, RefusalText, RelayError, Told};
use crate::routes::Astray;
use crate::upstream::{FailureKind, UpstreamFailure};

/// How long a caller should wait if nothing better is known.
const SHORTLY: Duration = Duration::from_secs(5);
/// A model that a scheduler starts is not ready before its state is next polled.
const NOT_RUNNING: Duration = Duration::from_secs(60);
/// SDKs do not retry after more than two minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Coding agents do not wait longer than this.
const LONGEST_QUEUE_WAIT: Duration = Duration::from_secs(60);

const TOO_MANY: &str = "As many requests from your address are being served as may be at a time. Please try again when one has ended.";

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let (status, code) = match rejection {
            Rejection::BadHost => (StatusCode::BAD_REQUEST, "invalid_host"),
            Rejection::BadTarget => (StatusCode::BAD_REQUEST, "invalid_target"),
            Rejection::BadFraming => (StatusCode::BAD_REQUEST, "invalid_framing"),
            Rejection::UriTooLong(_) => (StatusCode::URI_TOO_LONG, "uri_too_long"),
            Rejection::ExpectationFailed => (StatusCode::EXPECTATION_FAILED, "expectation_failed"),
            Rejection::TooMany { most } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                return Self::client(status, "concurrency", TOO_MANY)
                    .with_detail(format!("limit address in_flight: {most}"))
                    .with_retry_after(Duration::from_secs(1));
            }
            Rejection::MethodNotAllowed => {
                return Self::method_not_allowed("GET, POST, OPTIONS");
            }
        };
        Self::client(status, code, rejection.to_string())
    }
}

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
        let refusal = Self::client(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This path does not support this method.",
        )
        .permanent();
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

impl From<SignInError> for Refusal {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Missing => unauthorized(
                "missing_credentials",
                "You did not provide a key or token: send it as 'Authorization: Bearer ...'.",
                r#"Bearer realm="ostia""#,
            ),
            SignInError::TwoCredentials => Self::client(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "More than one credential was sent.",
            )
            .with_header(
                "www-authenticate",
                HeaderValue::from_static(r#"Bearer realm="ostia", error="invalid_request""#),
            ),
            SignInError::Malformed => unauthorized(
                "invalid_api_key",
                "The Authorization header contains no usable credential.",
                r#"Bearer realm="ostia", error="invalid_request""#,
            ),
            SignInError::UnsupportedScheme => unauthorized(
                "invalid_api_key",
                "Only 'Authorization: Bearer ...' is supported.",
                r#"Bearer realm="ostia""#,
            ),
            SignInError::InvalidKey => {
                invalid_token("invalid_api_key", "The key or token is not valid.")
            }
            SignInError::Expired => invalid_token("token_expired", "The key or token has expired."),
            SignInError::Reauthenticate(text) => invalid_token("reauthentication_required", text),
            SignInError::PolicyDenied(text) => {
                Self::client(StatusCode::FORBIDDEN, "policy_denied", text)
            }
            SignInError::Disabled => Self::account_disabled(),
            SignInError::NotLocal(text) => {
                Self::client(StatusCode::FORBIDDEN, "policy_denied", text)
            }
            SignInError::TooManyFailures(wait) => Self::client(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failed_sign_ins",
                "Too many keys or tokens from your address were not valid. Wait, then try again with a valid one.",
            )
            .with_detail(format!(
                "limit address failed_sign_ins: free in {} s",
                seconds(wait)
            ))
            .with_retry_after(wait.min(LONGEST_WAIT)),
            SignInError::IdentityUnavailable => Self::gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "identity_unavailable",
                "Sign-in is not available right now. Please try again shortly.",
            )
            .with_retry_after(SHORTLY),
            SignInError::StoreUnavailable => store_unavailable(),
        }
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

fn unauthorized(
    code: &'static str,
    message: impl Into<std::borrow::Cow<'static, str>>,
    challenge: &'static str,
) -> Refusal {
    Refusal::client(StatusCode::UNAUTHORIZED, code, message)
        .with_header("www-authenticate", HeaderValue::from_static(challenge))
}

fn invalid_token(
    code: &'static str,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> Refusal {
    unauthorized(
        code,
        message,
        r#"Bearer realm="ostia", error="invalid_token""#,
    )
}

fn store_unavailable() -> Refusal {
    Refusal::gateway(
        StatusCode::SERVICE_UNAVAILABLE,
        "store_unavailable",
        "The gateway cannot reach its records right now. Please try again shortly.",
    )
    .with_retry_after(SHORTLY)
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            ReadError::Invalid(_)
            | ReadError::Damaged(_)
            | ReadError::Incomplete
            | ReadError::HungUp => StatusCode::BAD_REQUEST,
            ReadError::UnsupportedType(_) | ReadError::Encoded => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            ReadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ReadError::RefusedTooMuch { wait, rate, level } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let (scope, free) = (scope_word(Scope::User), seconds(*wait));
                return Self::client(status, error.code(), error.to_string())
                    .with_detail(format!(
                        "limit {scope} refused_bytes_per_second: {rate}, used {level}, free in {free} s"
                    ))
                    .with_retry_after((*wait).min(LONGEST_WAIT));
            }
            ReadError::Share => {
                return Self::client(
                    StatusCode::TOO_MANY_REQUESTS,
                    error.code(),
                    error.to_string(),
                )
                .with_detail("limit of the memory for request bodies of one user or network")
                .with_retry_after(Duration::from_secs(1));
            }
            ReadError::Timeout => StatusCode::REQUEST_TIMEOUT,
            ReadError::Busy => {
                return Self::gateway(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "gateway_busy",
                    error.to_string(),
                )
                .with_retry_after(Duration::from_secs(1));
            }
        };
        let mut refusal = Self::client(status, error.code(), error.to_string());
        match &error {
            ReadError::HungUp => refusal.outcome = Outcome::ClientClosed,
            // RFC 9110 section 15.5.16.
            ReadError::Encoded => {
                let accepted = HeaderValue::from_static(ACCEPTED);
                refusal = refusal.with_header("accept-encoding", accepted);
            }
            _ => {}
        }
        match error.param() {
            Some(param) => refusal.with_param(param),
            None => refusal,
        }
    }
}

impl From<Reserved> for Refusal {
    fn from(reserved: Reserved) -> Self {
        let status = match reserved.as_first {
            true => StatusCode::UNPROCESSABLE_ENTITY,
            false => StatusCode::BAD_REQUEST,
        };
        let field = reserved.field;
        let text = format!("Only the gateway may set '{field}' for this model: leave it out.");
        Self::client(status, "invalid_value", text).with_param(field)
    }
}

impl From<NoCandidate> for Refusal {
    fn from(reason: NoCandidate) -> Self {
        match reason {
            NoCandidate::NotServing(reason) => reason.into(),
            NoCandidate::NotTaken(reason) => {
                Self::client(StatusCode::BAD_REQUEST, "invalid_value", reason.to_string())
                    .with_param(reason.param())
            }
        }
    }
}

impl From<NotServing> for Refusal {
    fn from(reason: NotServing) -> Self {
        let (code, message) = match reason {
            NotServing::NotRunning {
                model,
                state,
                unlisted,
                starts_in,
            } => return not_running(&model, state, unlisted, starts_in),
            NotServing::NoneReady => {
                let text = "No server of this model accepts requests right now.";
                return Self::gateway(StatusCode::SERVICE_UNAVAILABLE, "no_healthy_backend", text)
                    .with_retry_after(SHORTLY);
            }
            NotServing::Disabled => (
                "endpoint_disabled",
                "The model's endpoint is disabled; the gateway's operators can tell why.",
            ),
            NotServing::AdapterUnavailable => (
                "adapter_unavailable",
                "The model's endpoint uses an adapter that this gateway does not serve yet.",
            ),
        };
        Self::gateway(StatusCode::SERVICE_UNAVAILABLE, code, message).permanent()
    }
}

fn not_running(
    model: &str,
    state: ModelState,
    unlisted: bool,
    starts_in: Option<Duration>,
) -> Refusal {
    let mut message = if unlisted {
        format!("The model '{model}' is not currently running: its cluster does not list it.")
    } else {
        let state = state.as_str();
        format!("The model '{model}' is not currently running: its state is '{state}'.")
    };
    if let Some(wait) = starts_in {
        let minutes = wait.as_secs().div_ceil(60).max(1);
        message.push_str(&format!(" It is expected to start in about {minutes} min."));
    }
    let wait = starts_in.unwrap_or(NOT_RUNNING);
    let refusal = Refusal::gateway(
        StatusCode::SERVICE_UNAVAILABLE,
        "model_not_running",
        message,
    )
    .with_retry_after(wait);
    // Nobody is starting it: an SDK that waits and tries again only keeps its user waiting.
    let stays = starts_in.is_none() && (unlisted || state == ModelState::Stopped);
    if stays { refusal.permanent() } else { refusal }
}

impl From<JobsError> for Refusal {
    fn from(error: JobsError) -> Self {
        let status = refusing(error.status);
        let blame = if status.is_client_error() {
            Self::client
        } else {
            Self::gateway
        };
        let mut refusal = blame(status, JobsError::CODE, one_line(error.message, ' '));
        if !error.code.is_empty() {
            refusal.code = one_line(error.code, '_').into();
        }
        let refusal = refusal.with_detail(error.detail);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => refusal.with_retry_after(SHORTLY),
            _ => refusal,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (scope, measure) = match refused.shortage {
            Shortage::NotServing(fault) => return fault.into(),
            Shortage::Blocked(Blocked::Model) => {
                return Self::gateway(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "endpoint_disabled",
                    "The operators of this gateway have stopped this model. Please ask them.",
                )
                .permanent();
            }
            Shortage::Blocked(_) => {
                return Self::client(
                    StatusCode::FORBIDDEN,
                    "account_disabled",
                    "The operators of this gateway have blocked this account. Please ask them.",
                );
            }
            Shortage::EndpointsFull => {
                let busy = "Every server of this model is busy.";
                let message = format!("{busy} {}", when(refused.retry_after));
                let busy = Self::gateway(StatusCode::SERVICE_UNAVAILABLE, "queue_full", message);
                return busy.waiting(refused.retry_after);
            }
            Shortage::Limit { scope, measure } => (scope, measure),
        };
        let level = refused.standing.level(scope, measure);
        let (code, message) = limited(scope, measure, level, refused.retry_after);
        let mut refusal = Self::client(StatusCode::TOO_MANY_REQUESTS, code, message)
            .with_detail(limit_detail(scope, measure, level, refused.retry_after));
        refusal = match measure {
            Measure::Balance => refusal.permanent(),
            _ => refusal.waiting(refused.retry_after),
        };
        if measure == Measure::Tokens {
            let used = |scope| refused.standing.used(scope, Measure::Tokens);
            refusal.info = Some(json!({
                "global_model_usage": used(Scope::Endpoint),
                "user_model_usage": used(Scope::UserEndpoint),
            }));
        }
        for (name, value) in super::limit_headers(&refused.standing) {
            refusal.headers.push((name, value));
        }
        refusal
    }
}

impl Refusal {
    /// Says when to come again, where that is soon enough for a client to wait.
    fn waiting(self, wait: Duration) -> Self {
        match wait <= LONGEST_QUEUE_WAIT {
            true => self.with_retry_after(wait),
            false => self,
        }
    }
}

/// Whole ones, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn when(wait: Duration) -> String {
    match seconds(wait).max(1) {
        1 => "Try again in a second.".to_owned(),
        seconds => format!("Try again in {seconds} seconds."),
    }
}

/// The code and the message for an exhausted limit: which one, its number, what is used, when it is free.
fn limited(
    scope: Scope,
    measure: Measure,
    level: Option<&Level>,
    wait: Duration,
) -> (&'static str, String) {
    let whose = whose(scope);
    let (code, what) = match measure {
        Measure::Requests => ("requests", "requests a second"),
        Measure::InFlight => ("concurrency", "requests at a time"),
        Measure::Tokens => ("tokens", "tokens a minute"),
        Measure::Balance => ("budget_exceeded", "tokens in all"),
    };
    let Some(level) = level else {
        return (
            code,
            format!("The limit of {what} for {whose} is reached. {}", when(wait)),
        );
    };
    let (limit, used) = (level.limit, level.used);
    let owed = match level.owed {
        0 => String::new(),
        owed => format!(", {owed} more are owed"),
    };
    let then = match measure {
        Measure::Balance => "Nothing comes back with time.".to_owned(),
        _ => when(wait),
    };
    let message = format!("The limit is {limit} {what} for {whose}: {used} are used{owed}. {then}");
    (code, message)
}

/// The same for the log, in the words of `GET /v1/limits`.
fn limit_detail(scope: Scope, measure: Measure, level: Option<&Level>, wait: Duration) -> String {
    let limit = format!("limit {} {}", scope_word(scope), measure_word(measure));
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

impl From<AdapterError> for Refusal {
    fn from(error: AdapterError) -> Self {
        match error {
            AdapterError::Refusal {
                status,
                message,
                code,
            } => {
                let status = refusing(status);
                let message = one_line(message, ' ');
                let mut refusal = Self::client(status, "adapter_refused", message);
                refusal.code = one_line(code, '_').into();
                match status {
                    StatusCode::SERVICE_UNAVAILABLE => refusal.with_retry_after(SHORTLY),
                    _ => refusal,
                }
            }
            AdapterError::Failed(detail) => Self::gateway(
                StatusCode::INTERNAL_SERVER_ERROR,
                "adapter_error",
                "The endpoint's adapter failed.",
            )
            .with_detail(detail),
        }
    }
}

/// An adapter's own status, if it is an error status.
fn refusing(status: StatusCode) -> StatusCode {
    if status.is_client_error() || status.is_server_error() {
        status
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

impl From<backend::Failure> for Refusal {
    fn from(failure: backend::Failure) -> Self {
        match failure {
            backend::Failure::Refused(error) => error.into(),
            backend::Failure::Broken(failure) => failure.into(),
        }
    }
}

impl From<UpstreamFailure> for Refusal {
    fn from(failure: UpstreamFailure) -> Self {
        let refusal = match failure.kind {
            FailureKind::Timeout => Self::upstream(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "The model's server did not answer in time.",
                Outcome::UpstreamTimeout,
            ),
            FailureKind::Exhausted => Self::gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "gateway_busy",
                "The gateway has as many connections open as its machine allows.",
            )
            .with_retry_after(SHORTLY),
            FailureKind::Unreachable | FailureKind::Tls => bad_gateway(
                "upstream_unreachable",
                "The model's server cannot be reached.",
            ),
            FailureKind::Closed => bad_gateway(
                "upstream_unreachable",
                "The model's server closed the connection without a response.",
            ),
            FailureKind::Invalid => bad_gateway(
                "upstream_invalid",
                "The model's server sent an answer that is not valid HTTP.",
            ),
        };
        refusal.with_detail(failure.detail)
    }
}

impl From<RelayError> for Refusal {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Fault(fault) => from_fault(fault),
            RelayError::Backend(refusal) => from_backend(refusal),
            RelayError::KeyRefused(status) => bad_gateway(
                "upstream_auth",
                "The model's server refused the gateway's own key; the gateway's operators must fix that.",
            )
            .with_detail(format!("the backend answered {status}"))
            .permanent(),
            RelayError::Unusable(status) => {
                let refusal = bad_gateway("upstream_invalid", "The model's server failed.")
                    .with_detail(format!("the backend answered {status}"));
                // Redirects, what is accepted but not answered, and what is not implemented come of the configuration.
                match status.as_u16() {
                    200..=399 | 501 | 505 => refusal.permanent(),
                    _ => refusal,
                }
            }
        }
    }
}

fn from_fault(fault: AnswerFault) -> Refusal {
    let status = match fault.outcome() {
        _ if fault == AnswerFault::Dismissed => return Refusal::account_disabled(),
        Outcome::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Outcome::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    Refusal::upstream(status, fault.code(), fault.message(), fault.outcome())
}

fn from_backend(backend: BackendRefusal) -> Refusal {
    let (code, message) = match backend.status.as_u16() {
        404 => (
            "model_not_found",
            "The model's server does not know what was asked for.",
        ),
        413 => (
            "request_too_large",
            "The request is too large for the model's server.",
        ),
        429 => (
            "rate_limit_exceeded",
            "The model's server has too many requests.",
        ),
        503 | 529 => (
            "no_healthy_backend",
            "The model's server is overloaded or not ready.",
        ),
        400 | 409 | 422 => ("invalid_value", "The model's server refused the request."),
        _ => (
            "upstream_refused",
            "The model's server refused the request.",
        ),
    };
    let mut refusal = Refusal::upstream(backend.status, code, message, Outcome::UpstreamError)
        .with_detail(told(&backend));
    match backend.text {
        RefusalText::Whole(body) => refusal.body = Some(body),
        RefusalText::Told(told) => {
            refusal.message = told.message.into();
            refusal.told_code = told.code;
            refusal.param = told.param.map(Into::into);
        }
        RefusalText::Withheld => {}
    }
    let wait_is_due = matches!(backend.status.as_u16(), 429 | 503 | 529);
    let wait_is_told = backend.headers.iter().any(|(name, _)| *name == RETRY_AFTER);
    refusal.headers = backend.headers;
    match wait_is_due && !wait_is_told {
        true => refusal.with_retry_after(SHORTLY),
        false => refusal,
    }
}

/// For the log. A 404 without an error object or a code comes from a web server that has nothing at this path.
fn told(backend: &BackendRefusal) -> String {
    let status = backend.status;
    match &backend.text {
        RefusalText::Told(Told { code: None, .. }) | RefusalText::Withheld
            if status == StatusCode::NOT_FOUND =>
        {
            format!(
                "the backend answered {status}, but not in the format of an inference API: is the path of api_url right? `ostia check` shows the URL that is called"
            )
        }
        _ => format!("the backend answered {status}"),
    }
}

fn bad_gateway(code: &'static str, message: &'static str) -> Refusal {
    Refusal::upstream(
        StatusCode::BAD_GATEWAY,
        code,
        message,
        Outcome::UpstreamError,
    )
}
