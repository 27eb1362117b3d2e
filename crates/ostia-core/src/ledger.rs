use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::RequestId;

/// How a request ended. `Ok` is a complete 2xx only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    Ok,
    ClientClosed,
    UpstreamError,
    UpstreamTimeout,
    Rejected,
    Interrupted,
}

impl Outcome {
    /// Of a request that nobody finished: the client went away, unless it is the gateway that gives up or fails.
    pub fn unfinished(shutting_down: bool) -> Self {
        if shutting_down || std::thread::panicking() {
            Self::Interrupted
        } else {
            Self::ClientClosed
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientClosed => "client_closed",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Rejected => "rejected",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How far a request had come when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    ReadingBody,
    Queued,
    Connecting,
    WaitingHeaders,
    Streaming,
    Truncated,
    Done,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadingBody => "reading_body",
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::WaitingHeaders => "waiting_headers",
            Self::Streaming => "streaming",
            Self::Truncated => "truncated",
            Self::Done => "done",
        }
    }
}

/// Where the token counts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum UsageSource {
    Upstream,
    Estimated,
    #[default]
    None,
}

impl UsageSource {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// Token counts of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
    pub source: UsageSource,
}

/// One row of the ledger, as the journal keeps it and the store writes it. Times are Unix microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow<'a> {
    pub request_id: RequestId,
    #[serde(borrow)]
    pub client_request_id: Cow<'a, str>,
    pub started_at: i64,
    pub finished_at: i64,
    #[serde(borrow)]
    pub user_id: Cow<'a, str>,
    #[serde(borrow)]
    pub username: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub auth_service: Cow<'a, str>,
    #[serde(borrow)]
    pub idp: Cow<'a, str>,
    #[serde(borrow)]
    pub domain: Cow<'a, str>,
    #[serde(borrow)]
    pub group_id: Cow<'a, str>,
    #[serde(borrow)]
    pub key_id: Cow<'a, str>,
    #[serde(borrow)]
    pub project: Cow<'a, str>,
    #[serde(borrow)]
    pub cluster: Cow<'a, str>,
    #[serde(borrow)]
    pub framework: Cow<'a, str>,
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    #[serde(borrow)]
    pub endpoint_slug: Cow<'a, str>,
    #[serde(borrow)]
    pub api: Cow<'a, str>,
    pub stream: bool,
    pub http_status: u16,
    pub outcome: Outcome,
    pub phase: Phase,
    #[serde(borrow)]
    pub error_code: Cow<'a, str>,
    pub usage: Usage,
    /// Milliseconds from arrival to the first byte of the answer; `None` if there was none.
    pub ttft_ms: Option<u64>,
    pub duration_ms: u64,
    pub queue_ms: u64,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// The backend's status; 0 if it never answered.
    pub upstream_status: u16,
    pub attempts: u32,
    #[serde(borrow)]
    pub origin_ip: Cow<'a, str>,
    /// How many refusals this row stands for; 1 but for folded `rejected` rows.
    pub count: u32,
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Outcome;

    struct Guard<'a>(&'a mut Option<Outcome>);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            *self.0 = Some(Outcome::unfinished(false));
        }
    }

    #[test]
    fn who_hung_up_is_told_from_a_gateway_that_failed() {
        let mut seen = None;
        drop(Guard(&mut seen));
        assert_eq!(seen, Some(Outcome::ClientClosed));
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard(&mut seen);
            panic!();
        }));
        assert!(failed.is_err());
        assert_eq!(seen, Some(Outcome::Interrupted));
        assert_eq!(Outcome::unfinished(true), Outcome::Interrupted);
    }
}
