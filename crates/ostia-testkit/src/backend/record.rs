use std::time::Instant;

use ostia_engine::Tokens;

use super::Received;

/// How a request ended on the backend's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The script was played to its end.
    Answered,
    /// The script broke the connection or the message.
    Broken,
    /// The peer went away first: while it sent the request, while it waited, or within the answer.
    Aborted,
}

/// Everything known about one request, from its head on.
#[derive(Debug, Clone)]
pub struct Record {
    /// Place in the order in which heads arrived, from 0.
    pub number: usize,
    /// Which connection brought it, from 0 in the order of acceptance.
    pub connection: usize,
    pub received: Received,
    pub head_at: Instant,
    /// When the body was whole.
    pub complete_at: Option<Instant>,
    pub ending: Option<Ending>,
    pub ended_at: Option<Instant>,
    /// Bytes handed to the kernel, heads and framing included.
    pub bytes_written: u64,
    /// Events of the body (a plain answer is one) whose last byte was handed to the kernel.
    pub events_written: usize,
    /// Tokens of the answer's text among them.
    pub tokens_written: u64,
    /// The last valid usage among them, which the ledger must have.
    pub reported: Option<Tokens>,
}

impl Record {
    pub(super) fn new(number: usize, connection: usize, received: Received, now: Instant) -> Self {
        Self {
            number,
            connection,
            received,
            head_at: now,
            complete_at: None,
            ending: None,
            ended_at: None,
            bytes_written: 0,
            events_written: 0,
            tokens_written: 0,
            reported: None,
        }
    }

    /// When the peer went away before the script's end.
    pub fn aborted_at(&self) -> Option<Instant> {
        let aborted = self.ending == Some(Ending::Aborted);
        self.ended_at.filter(|_| aborted)
    }
}

/// Sockets and requests, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub connections: usize,
    pub open_connections: usize,
    /// Requests whose head came and whose answer has not ended.
    pub active: usize,
    /// The most that were active at one time.
    pub most_active: usize,
}
