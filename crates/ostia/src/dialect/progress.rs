use super::Seen;
use super::usage::Counters;

/// What was seen of a stream so far.
#[derive(Debug)]
pub struct Progress {
    pub(super) usage: Counters,
    /// The backend reported an error.
    pub(super) failed: bool,
    pub(super) response_id: Option<Box<str>>,
    /// There was more than an end.
    pub(super) said: bool,
    /// Choices whose end was told.
    ended: Vec<u64>,
    /// Events that carried text: at least a token each.
    events: u64,
    bytes: u64,
    shortest: u64,
    /// Whether what comes is text, whose length says how many tokens it has.
    counts: bool,
}

/// Choices beyond so many are not told apart; no engine gives so many.
const MOST_CHOICES: usize = 1024;

impl Progress {
    pub(super) fn new(counts: bool) -> Self {
        Self {
            usage: Counters::default(),
            failed: false,
            response_id: None,
            said: false,
            ended: Vec::new(),
            events: 0,
            bytes: 0,
            shortest: u64::MAX,
            counts,
        }
    }

    /// An event of this length carries text that the model made.
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

    /// The last event holds the whole answer.
    pub(super) fn end_with_answer(&mut self) -> Seen {
        self.said = true;
        Seen::Terminal
    }

    /// Whether so many choices have told why they ended.
    pub(super) fn has_ended(&self, choices: u64) -> bool {
        self.ended.len() as u64 >= choices
    }

    /// Output tokens seen so far, at least: one an event, or a quarter of the bytes that events have over the shortest
    /// one (whose length is mostly envelope).
    pub(super) fn counted(&self) -> u64 {
        let envelope = self.shortest.saturating_mul(self.events);
        self.events.max(self.bytes.saturating_sub(envelope) / 4)
    }
}
