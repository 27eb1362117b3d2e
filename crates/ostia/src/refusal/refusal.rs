use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use ostia_core::Outcome;

use super::codes::is_known;

/// The longest wait that a client is told. Coding agents give up rather than wait longer.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Who must change something to prevent it from happening again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    Client,
    Gateway,
    Upstream,
}

/// An error response that can be written in any dialect.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: StatusCode,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    pub code: Cow<'static, str>,
    /// A backend's own code, which clients get instead of ours.
    pub told_code: Option<serde_json::Value>,
    pub message: Cow<'static, str>,
    pub param: Option<Cow<'static, str>>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// FIRST's `error.info`.
    pub info: Option<serde_json::Value>,
    /// A backend's own error body, sent instead of ours.
    pub body: Option<Bytes>,
    /// For the log, with the request id. Never sent.
    pub detail: Option<String>,
    pub outcome: Outcome,
    pub blame: Blame,
}

impl Refusal {
    /// The caller made a mistake or lacks a permission.
    pub fn client(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(status, code, message, Outcome::Rejected, Blame::Client)
    }

    /// The gateway cannot do it now.
    pub fn gateway(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(status, code, message, Outcome::Rejected, Blame::Gateway)
    }

    /// The backend failed.
    pub fn upstream(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        outcome: Outcome,
    ) -> Self {
        Self::new(status, code, message, outcome, Blame::Upstream)
    }

    pub fn with_param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the endpoint to the detail.
    pub fn at(self, slug: &str) -> Self {
        let detail = match &self.detail {
            Some(detail) => format!("endpoint {slug}: {detail}"),
            None => format!("endpoint {slug}"),
        };
        self.with_detail(detail)
    }

    pub fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    pub fn with_headers(mut self, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Trying again does not help: SDKs, which retry each 5xx, are told so.
    pub fn permanent(self) -> Self {
        self.with_header("x-should-retry", HeaderValue::from_static("false"))
    }

    /// Whether its status alone says that no retry can help.
    fn is_final_by_status(&self) -> bool {
        let status = self.status.as_u16();
        let waits = self.headers.iter().any(|(name, _)| name == RETRY_AFTER);
        self.status.is_client_error() && !matches!(status, 408 | 409 | 425 | 429) && !waits
    }

    /// Says so to clients, where no retry can help.
    pub fn settled(self) -> Self {
        match self.is_final_by_status() && !self.is_permanent() {
            true => self.permanent(),
            false => self,
        }
    }

    fn is_permanent(&self) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| name);
        names.any(|name| name == "x-should-retry")
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        let status = self.status.as_u16();
        (status == 429 || status >= 500) && !self.is_permanent()
    }

    /// Whole seconds, at least 1 (RFC 9110 section 10.2.3).
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with_header("retry-after", HeaderValue::from(whole.max(1)))
    }

    fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        outcome: Outcome,
        blame: Blame,
    ) -> Self {
        debug_assert!(
            is_known(code, status.as_u16()),
            "{code} with status {status} is missing from refusal/codes.rs"
        );
        Self {
            status,
            kind: kind_of(status.as_u16()),
            code: Cow::Borrowed(code),
            told_code: None,
            message: message.into(),
            param: None,
            headers: Vec::new(),
            info: None,
            body: None,
            detail: None,
            outcome,
            blame,
        }
    }
}

/// What an adapter says, as one line: control characters, such as the CR LF that would begin another line in a log or a
/// header, are replaced. U+2028 and U+2029 end a line too, to some programs.
pub(crate) fn one_line(text: String, instead: char) -> String {
    let ends_line =
        |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    match text.contains(ends_line) {
        true => text.replace(ends_line, &instead.to_string()),
        false => text,
    }
}

/// The contract's table of error types.
pub(crate) const fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        501 => "invalid_request_error",
        502 => "upstream_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500..=599 => "server_error",
        _ => "invalid_request_error",
    }
}
