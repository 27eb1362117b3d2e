use super::Seen;
use super::usage::Counters;

/// What has been seen of a stream so far.
#[derive(Debug)]
pub struct Progress {
    pub(super) usage: Counters,
    /// The backend reported an error.
    pub(super) failed: bool,
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
