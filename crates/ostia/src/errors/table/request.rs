//! What is wrong with a request before a model is looked up.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use ostia_core::{Outcome, Scope};

use super::seconds;
use crate::authorize::Reserved;
use crate::codings::ACCEPTED;
use crate::listen::Rejection;
use crate::read::ReadError;
use crate::refusal::Refusal;

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
                let (scope, free) = (Scope::User.as_str(), seconds(*wait));
                return Self::client(status, error.code(), error.to_string())
                    .with_detail(format!(
                        "limit {scope} refused_bytes_per_second: {rate}, used {level}, free in {free} s"
                    ))
                    .waiting(*wait);
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
