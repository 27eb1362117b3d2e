use ostia_core::{Usage, UsageSource};

use super::event::{data_of, is_done};
use super::long_event::LongEvent;
use super::{Api, Counters, Dialect, Progress};

/// May precede the first event of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What to do with an event.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Seen {
    Forward,
    /// A usage chunk that only the gateway asked for.
    Hide,
    /// A chunk with nothing but usage: `[DONE]` follows.
    LastUsage,
    /// The dialect's last event: `[DONE]`, `message_stop`, `response.completed`.
    Terminal,
}

/// Reads usage as the bytes pass, and counts the output in case the backend never reports it.
#[derive(Debug)]
pub struct Meter {
    dialect: &'static dyn Dialect,
    hide_usage: bool,
    /// How many choices the client asked for.
    choices: u64,
    /// The current event, if it passes in parts.
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

    /// Reads one whole event.
    pub fn event(&mut self, event: &[u8]) -> Seen {
        let data = data_of(without_mark(event));
        self.data(&data, data.len())
    }

    /// Takes part of an event that is too long to be held whole.
    pub fn part(&mut self, part: &[u8]) {
        self.long.push(without_mark(part));
    }

    /// Takes the last part of such an event and returns what the event was.
    pub fn last_part(&mut self, part: &[u8]) -> Seen {
        let mut long = std::mem::take(&mut self.long);
        long.push(part);
        let (data, length) = long.data();
        match self.data(data, length) {
            // Its beginning has already been sent.
            Seen::Hide => Seen::LastUsage,
            seen => seen,
        }
    }

    /// `length` is the event's real length, even if `data` is a digest.
    fn data(&mut self, data: &[u8], length: usize) -> Seen {
        // Servers also send it after dialects' own last events.
        if is_done(data) {
            return match self.progress.only_begun {
                true => Seen::Forward,
                false => Seen::Terminal,
            };
        }
        // Data that is not an object says nothing. serde would accept an array as the members in order.
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

    /// The id of the response that has begun; returned once.
    pub fn take_response_id(&mut self) -> Option<Box<str>> {
        self.progress.response_id.take()
    }

    /// The usage: what the backend reported if the response is `whole`, otherwise at least what was seen. `estimate`
    /// turns counted output tokens into a usage.
    pub fn used(&self, whole: bool, estimate: impl Fn(u64) -> Usage) -> Usage {
        let counted = self.progress.counted();
        let estimate = estimate(counted);
        match self.progress.usage.usage(estimate) {
            Some(usage) if whole => usage,
            Some(usage) => {
                let completion_tokens = usage.completion_tokens.max(counted);
                // Until they know better, some engines report an empty prompt.
                let prompt_tokens = match usage.prompt_tokens {
                    0 => estimate.prompt_tokens,
                    told => told,
                };
                Usage {
                    prompt_tokens,
                    completion_tokens,
                    total_tokens: prompt_tokens.saturating_add(completion_tokens),
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

    /// The backend's error says that the request itself is at fault.
    pub fn blames_request(&self) -> bool {
        self.progress.blames_request
    }

    /// There was an event other than the one that ends a stream.
    pub fn said_something(&self) -> bool {
        self.progress.said
    }

    /// The stream held no output, and nobody told of any usage.
    pub fn has_made_nothing(&self) -> bool {
        let progress = &self.progress;
        (!progress.said || progress.only_begun) && progress.usage == Counters::default()
    }

    /// The stream said that a response was created, and no more.
    pub fn has_only_begun(&self) -> bool {
        self.progress.only_begun
    }

    /// The response is complete without a terminal event: every choice said why it ended, or the backend reported an
    /// error.
    pub fn is_over(&self) -> bool {
        self.failed() || self.progress.has_ended(self.choices)
    }
}

fn without_mark(event: &[u8]) -> &[u8] {
    event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event)
}

#[cfg(test)]
mod tests;
