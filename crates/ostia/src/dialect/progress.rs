use serde_json::Value;

use super::Seen;
use super::usage::Counters;

/// What has been seen of a stream so far.
#[derive(Debug)]
pub struct Progress {
    pub(super) usage: Counters,
    /// The backend reported an error.
    pub(super) failed: bool,
    /// By that error the request itself is at fault.
    pub(super) blames_request: bool,
    pub(super) response_id: Option<Box<str>>,
    /// There was more than a terminal event.
    pub(super) said: bool,
    /// A response was created, and nothing of it came yet.
    pub(super) only_begun: bool,
    /// Choices whose end was reported.
    ended: Vec<u64>,
    /// Events that carried text; each is at least one token.
    events: u64,
    bytes: u64,
    shortest: u64,
    /// Whether the output is text, so that its length tells how many tokens it has.
    counts: bool,
}

/// Choices beyond this number are not told apart; no engine returns so many.
const MOST_CHOICES: usize = 1024;

impl Progress {
    pub(super) fn new(counts: bool) -> Self {
        Self {
            usage: Counters::default(),
            failed: false,
            blames_request: false,
            response_id: None,
            said: false,
            only_begun: false,
            ended: Vec::new(),
            events: 0,
            bytes: 0,
            shortest: u64::MAX,
            counts,
        }
    }

    /// The event says that the backend failed.
    pub(super) fn fail(&mut self, event: &[u8]) {
        self.failed = true;
        self.blames_request |= blames_request(event);
    }

    /// An event of this length carries generated text.
    pub(super) fn text(&mut self, length: usize) {
        if !self.counts {
            return;
        }
        let length = length as u64;
        self.events += 1;
        self.bytes += length;
        self.shortest = self.shortest.min(length);
    }

    /// The stream says why this choice ended.
    pub(super) fn choice_ended(&mut self, index: u64) {
        if self.ended.len() < MOST_CHOICES && !self.ended.contains(&index) {
            self.ended.push(index);
        }
    }

    /// The last event holds the complete response.
    pub(super) fn end_with_answer(&mut self) -> Seen {
        self.said = true;
        Seen::Terminal
    }

    /// Whether this many choices have said why they ended.
    pub(super) fn has_ended(&self, choices: u64) -> bool {
        self.ended.len() as u64 >= choices
    }

    /// A lower bound on the output tokens so far: one per event, or a quarter of the bytes by which events exceed the
    /// shortest one (whose length is mostly envelope).
    pub(super) fn counted(&self) -> u64 {
        let envelope = self.shortest.saturating_mul(self.events);
        self.events.max(self.bytes.saturating_sub(envelope) / 4)
    }
}
/// Whether an error is about the request, as far as its code or its type tells: too long a prompt, a bad parameter. What
/// is about the gateway's key, or about load, is not.
fn blames_request(event: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(event) else {
        return false;
    };
    let holders = [&event["error"], &event["response"]["error"], &event];
    let Some(error) = holders.into_iter().find(|holder| holder.is_object()) else {
        return false;
    };
    let by_code = error["code"].as_u64().is_some_and(|code| {
        matches!(code, 400..=499) && !matches!(code, 401 | 403 | 407 | 408 | 429)
    });
    let told = [&error["type"], &error["code"]];
    by_code
        || told
            .into_iter()
            .filter_map(Value::as_str)
            .any(|word| REQUEST_FAULTS.contains(&word))
}

/// What engines and providers call it.
const REQUEST_FAULTS: [&str; 7] = [
    "invalid_request_error",
    "BadRequestError",
    "context_length_exceeded",
    "invalid_prompt",
    "content_filter",
    "string_above_max_length",
    "request_too_large",
];

#[cfg(test)]
mod tests {
    use super::blames_request;

    #[test]
    fn errors_about_the_request_are_told_from_errors_of_the_backend() {
        for own in [
            r#"{"error":{"message":"too long","type":"BadRequestError","code":400}}"#,
            r#"{"object":"error","message":"too long","type":"X","code":422}"#,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
            r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt"}}}"#,
            r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
        ] {
            assert!(blames_request(own.as_bytes()), "{own}");
        }
        for backend in [
            r#"{"error":{"message":"m","code":500}}"#,
            r#"{"error":{"message":"m","code":429,"type":"rate_limit_error"}}"#,
            r#"{"error":{"message":"key","code":401}}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            r#"{"error":"text"}"#,
            "no json",
        ] {
            assert!(!blames_request(backend.as_bytes()), "{backend}");
        }
    }
}
