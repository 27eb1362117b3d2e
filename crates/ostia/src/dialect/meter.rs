use ostia_core::{Usage, UsageSource};

use super::event::{data_of, is_done};
use super::long_event::LongEvent;
use super::{Api, Dialect, Progress};

/// May stand before the first event of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Seen {
    Forward,
    /// A usage chunk that only the gateway asked for.
    Hide,
    /// A usage chunk of its own: `[DONE]` follows.
    LastUsage,
    /// The dialect's last event: `[DONE]`, `message_stop`, `response.completed`.
    Terminal,
}

/// Reads usage as the bytes pass, and counts what comes in case the backend never says.
#[derive(Debug)]
pub struct Meter {
    dialect: &'static dyn Dialect,
    hide_usage: bool,
    /// How many choices the client asked for.
    choices: u64,
    /// The event that passes in parts.
    long: LongEvent,
    progress: Progress,
}

impl Meter {
    pub fn new(api: &Api, hide_usage: bool, choices: u64) -> Self {
        Self {
            dialect: api.dialect(),
            hide_usage,
            choices,
            long: LongEvent::default(),
            progress: Progress::new(!api.answers_with_media()),
        }
    }

    /// Looks at one whole event.
    pub fn event(&mut self, event: &[u8]) -> Seen {
        let data = data_of(without_mark(event));
        self.data(&data, data.len())
    }

    /// Takes part of an event that is too long to be looked at whole.
    pub fn part(&mut self, part: &[u8]) {
        self.long.push(without_mark(part));
    }

    /// Takes the last part of such an event and looks at what it was.
    pub fn last_part(&mut self, part: &[u8]) -> Seen {
        let mut long = std::mem::take(&mut self.long);
        long.push(part);
        let (data, length) = long.data();
        match self.data(data, length) {
            // Its beginning has been passed on.
            Seen::Hide => Seen::LastUsage,
            seen => seen,
        }
    }

    /// `length` is the event's own where `data` is a digest.
    fn data(&mut self, data: &[u8], length: usize) -> Seen {
        // Servers send it behind whatever ends their streams.
        if is_done(data) {
            return Seen::Terminal;
        }
        // An event that is no object tells nothing, and would pass for one with members in order.
        if !data.starts_with(b"{") {
            return Seen::Forward;
        }
        let seen = self.dialect.event(data, length, &mut self.progress);
        self.progress.said |= seen != Seen::Terminal;
        match seen {
            Seen::LastUsage if self.hide_usage => Seen::Hide,
            seen => seen,
        }
    }

    /// The id of the response that has begun, once.
    pub fn take_response_id(&mut self) -> Option<Box<str>> {
        self.progress.response_id.take()
    }

    /// What was used: the backend's own word if `whole`, else at least what came. `estimate` makes a usage of the output
    /// tokens that were counted.
    pub fn used(&self, whole: bool, estimate: impl Fn(u64) -> Usage) -> Usage {
        let counted = self.progress.counted();
        let estimate = estimate(counted);
        match self.progress.usage.usage(estimate) {
            Some(usage) if whole => usage,
            Some(usage) => {
                let completion_tokens = usage.completion_tokens.max(counted);
                Usage {
                    completion_tokens,
                    total_tokens: usage.prompt_tokens + completion_tokens,
                    source: UsageSource::Estimated,
                    ..usage
                }
            }
            None => estimate,
        }
    }

    /// The backend reported an error in the stream.
    pub fn failed(&self) -> bool {
        self.progress.failed
    }

    /// There was an event besides the one that ends a stream.
    pub fn said_something(&self) -> bool {
        self.progress.said
    }

    /// The answer is whole, or an error in the backend's own words, without a terminal event: every choice has told why
    /// it ended, or the backend why it gave up.
    pub fn is_over(&self) -> bool {
        self.failed() || self.progress.has_ended(self.choices)
    }
}

fn without_mark(event: &[u8]) -> &[u8] {
    event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event)
}

#[cfg(test)]
mod tests;
