use std::error::Error;
use std::io;

use super::{BodyError, FailureKind};
use crate::habits::{io_cause, is_broken_framing};

/// How one attempt on one connection failed.
pub(super) struct Trouble {
    pub(super) kind: FailureKind,
    pub(super) detail: String,
    /// Whether any byte of the request may have left.
    pub(super) written: bool,
    /// The connection ended without a single byte of response. If it had been idle before, it was already dead.
    pub(super) silent: bool,
    /// The backend said that it has done nothing with the request, and may say so again.
    pub(super) refused: bool,
}

/// What an error before the response head means.
pub(super) fn kind_of(error: &hyper::Error) -> FailureKind {
    if error.is_parse() {
        return FailureKind::Invalid;
    }
    match io_cause(error) {
        Some(cause)
            if cause
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>()) =>
        {
            FailureKind::Tls
        }
        Some(cause) if cause.kind() == io::ErrorKind::InvalidData => FailureKind::Invalid,
        _ => FailureKind::Closed,
    }
}

/// What an error inside a response body means.
pub(super) fn body_error_of(error: &hyper::Error) -> BodyError {
    match is_broken_framing(error) {
        true => BodyError::Invalid,
        false => BodyError::Closed,
    }
}

/// An error and all its causes, for the log.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
