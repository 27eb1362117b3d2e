use super::scan::{Fault, Key, ScanError};

/// Why a request did not become a [`super::Call`]. `Display` is the message for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// 400.
    #[error("{0}")]
    Invalid(Invalid),
    /// 415: the `Content-Type`.
    #[error("{0}")]
    UnsupportedType(&'static str),
    /// 415: a `Content-Encoding` other than `identity`. Compressed bodies would pass the size limits unseen.
    #[error("The request body must not be compressed: send it without Content-Encoding.")]
    Encoded,
    /// 413.
    #[error("The request body is larger than the limit of {limit} bytes.")]
    TooLarge { limit: u64 },
    /// 503: all request bodies in flight hold as much memory as they may.
    #[error("The gateway holds as many request bodies as it can. Please try again shortly.")]
    Busy,
    /// 408, then close: the client stopped sending.
    #[error("The request body did not arrive in time.")]
    Timeout,
    /// 400, then close: the body's framing broke.
    #[error("The request body ended before it was complete.")]
    Incomplete,
    /// The client went away before the body's end: nobody is left to read an answer.
    #[error("The request body ended before it was complete.")]
    HungUp,
}

/// A body that says something the gateway cannot act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// `invalid_json`, `missing_model`, `invalid_value` or `missing_required_parameter`.
    pub code: &'static str,
    /// The key at fault; `None` where the body as a whole is.
    pub param: Option<&'static str>,
    pub message: String,
}

impl ReadError {
    /// The public `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.code,
            Self::UnsupportedType(_) | Self::Encoded => "unsupported_media_type",
            Self::TooLarge { .. } => "request_too_large",
            Self::Busy => "gateway_busy",
            Self::Timeout => "request_timeout",
            Self::Incomplete | Self::HungUp => "incomplete_body",
        }
    }

    /// The public `param`.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::Invalid(invalid) => invalid.param,
            _ => None,
        }
    }
}

impl Invalid {
    pub(super) fn missing_model() -> Self {
        Self {
            code: "missing_model",
            param: Some("model"),
            message: "You must provide a model parameter: a non-empty string.".to_owned(),
        }
    }

    pub(super) fn missing(key: Key) -> Self {
        Self {
            code: "missing_required_parameter",
            param: Some(key.as_str()),
            message: format!("Missing required parameter: '{key}'."),
        }
    }

    pub(super) fn value(key: Key, why: &str) -> Self {
        Self {
            code: "invalid_value",
            param: Some(key.as_str()),
            message: format!("Invalid value for '{key}': {why}."),
        }
    }

    pub(super) fn form(why: &str) -> Self {
        Self {
            code: "invalid_value",
            param: None,
            message: format!("The request body is not valid multipart/form-data: {why}."),
        }
    }
}

impl From<Invalid> for ReadError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<ScanError> for Invalid {
    fn from(error: ScanError) -> Self {
        match error.fault {
            Fault::Repeated(key) => Self::value(key, "the key is given more than once"),
            Fault::OtherCase(key) => {
                Self::value(key, "the key must be written in lower case, and only once")
            }
            Fault::NotAnObject => Self::json("it must be a JSON object".to_owned()),
            _ => Self::json(error.to_string()),
        }
    }
}

impl Invalid {
    fn json(why: String) -> Self {
        Self {
            code: "invalid_json",
            param: None,
            message: format!("We could not parse the JSON body of your request: {why}."),
        }
    }
}
