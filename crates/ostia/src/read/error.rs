use std::time::Duration;

use crate::codings::{ACCEPTED, Damage};
use crate::dialect::Invalid;

/// Why a request did not become a [`super::Call`]. `Display` is the message for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// 400.
    #[error("{0}")]
    Invalid(Invalid),
    /// 415: the `Content-Type`.
    #[error("{0}")]
    UnsupportedType(&'static str),
    /// 415: a `Content-Encoding` that cannot be undone.
    #[error(
        "The Content-Encoding of this request is not supported: send the body plain, or with up to four of \
         {ACCEPTED}."
    )]
    Encoded,
    /// 400: the body is not what its `Content-Encoding` says.
    #[error(
        "The request body cannot be decompressed: {0}. Send it again, or without Content-Encoding."
    )]
    Damaged(Damage),
    /// 413.
    #[error("The request body is larger than the limit of {limit} bytes.")]
    TooLarge { limit: u64 },
    /// 503: the request bodies in flight already hold all the memory they may.
    #[error("The gateway holds as many request bodies as it can. Please try again shortly.")]
    Busy,
    /// 429: bodies of this user, or from this address, hold all the memory they may.
    #[error(
        "The requests that you are sending take as much memory as they may. Please send fewer at a time."
    )]
    Share,
    /// 429: bodies of this user that were refused have cost as much as they may.
    #[error("Too much of what you sent was refused: wait, and look at the errors.")]
    RefusedTooMuch {
        wait: Duration,
        /// Bytes a second that run off, and those that have not yet.
        rate: u64,
        level: u64,
    },
    /// 408, then close: the client stopped sending.
    #[error("The request body did not arrive in time.")]
    Timeout,
    /// 400, then close: the body's framing broke.
    #[error("The request body ended before it was complete.")]
    Incomplete,
    /// The client went away before the end of the body, so nobody is left to read a response.
    #[error("The request body ended before it was complete.")]
    HungUp,
}

impl ReadError {
    /// The public `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code,
            Self::UnsupportedType(_) | Self::Encoded => "unsupported_media_type",
            Self::Damaged(_) => "invalid_encoding",
            Self::TooLarge { .. } => "request_too_large",
            Self::Busy => "gateway_busy",
            Self::Share => "concurrency",
            Self::RefusedTooMuch { .. } => "refused_bytes",
            Self::Timeout => "request_timeout",
            Self::Incomplete | Self::HungUp => "incomplete_body",
        }
    }

    /// The public `param`.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::Invalid(invalid) => invalid.param,
            Self::Encoded | Self::Damaged(_) => Some("Content-Encoding"),
            _ => None,
        }
    }
}

impl From<Invalid> for ReadError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}
