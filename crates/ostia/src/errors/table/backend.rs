//! Failures of backends, adapters and schedulers.

use http::StatusCode;
use http::header::RETRY_AFTER;
use ostia_core::Outcome;

use super::SHORTLY;
use crate::backend::{self, AdapterError};
use crate::cluster::JobsError;
use crate::refusal::{AnswerFault, Refusal, one_line};
use crate::relay::{BackendRefusal, RefusalText, RelayError, Told};
use crate::upstream::{FailureKind, UpstreamFailure};

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

pub(super) fn from_fault(fault: AnswerFault) -> Refusal {
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
