use ostia_core::Outcome;

/// How a response failed after its head had arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFault {
    /// The backend closed the connection before the response was complete.
    Closed,
    /// The stream ended without its terminal event.
    Truncated,
    /// The response says that it is still in progress.
    Unfinished,
    /// The backend's framing is broken.
    Invalid,
    /// A 200 without a body.
    Empty,
    /// Not the required JSON object, or an error with status 200.
    NotJson,
    /// An error that held the endpoint's key or address.
    Withheld,
    IdleTimeout,
    TotalTimeout,
    /// The gateway itself is being stopped.
    ShuttingDown,
    /// The caller's account was disabled.
    Dismissed,
}

impl AnswerFault {
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Closed
            | Self::Truncated
            | Self::Unfinished
            | Self::Invalid
            | Self::Empty
            | Self::NotJson
            | Self::Withheld => Outcome::UpstreamError,
            Self::IdleTimeout | Self::TotalTimeout => Outcome::UpstreamTimeout,
            Self::ShuttingDown | Self::Dismissed => Outcome::Interrupted,
        }
    }

    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed => "upstream_closed",
            Self::Truncated => "truncated",
            Self::Unfinished | Self::Invalid | Self::Empty | Self::NotJson | Self::Withheld => {
                "upstream_invalid"
            }
            Self::IdleTimeout | Self::TotalTimeout => "upstream_timeout",
            Self::ShuttingDown => "shutting_down",
            Self::Dismissed => "account_disabled",
        }
    }

    /// What may pass says so in words that clients know ("connection error", "timed out", "server error"): they have no
    /// status to go by once a stream has begun.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Closed => {
                "The model's server closed the connection before the answer was complete (connection error)."
            }
            Self::Truncated => {
                "The model's server ended the stream before the answer was complete (connection error)."
            }
            Self::Unfinished => "The model's server sent an unfinished answer (server error).",
            Self::Invalid => {
                "The model's server sent an answer that is not valid HTTP (connection error)."
            }
            Self::Empty => "The model's server sent an empty answer (server error).",
            Self::NotJson => "The model's server sent an answer that is not what was asked for.",
            Self::Withheld => {
                "The model's server reported an error whose text is withheld; the operator's log tells more."
            }
            Self::IdleTimeout => {
                "The model's server stopped sending before the answer was complete (timed out)."
            }
            Self::TotalTimeout => "The answer took longer than is allowed.",
            Self::Dismissed => "This account was disabled.",
            Self::ShuttingDown => {
                "The gateway is being stopped; please send the request again (connection error)."
            }
        }
    }
}
