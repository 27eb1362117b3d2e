use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::page::{Facts, Page, Place};
use super::{Observer, Outlasting};
use crate::{Identity, Outcome, Phase, RequestId, Usage};

/// The proof that a request is recorded, and the guard that records how it ended: exactly one final record, by `close`,
/// or by `Drop` if nobody closed it. Only [`super::Opening::open`] makes one.
pub struct Receipt {
    page: Box<Page>,
    own_time: Duration,
}

impl Receipt {
    pub(super) fn of(mut page: Box<Page>, endpoint: Arc<dyn Observer>, own_time: Duration) -> Self {
        page.observers[0] = Some(endpoint);
        Self { page, own_time }
    }

    pub fn request_id(&self) -> RequestId {
        self.page.arrival.request_id
    }

    pub fn identity(&self) -> &Identity {
        &self.page.arrival.identity
    }

    pub fn endpoint_slug(&self) -> &Arc<str> {
        &self.page.place.endpoint_slug
    }

    /// When the request's head had arrived completely.
    pub fn received(&self) -> Instant {
        self.page.arrival.received
    }

    /// The time from the end of the request's body to its `started` record, without its wait.
    pub fn own_time(&self) -> Duration {
        self.own_time
    }

    pub fn usage(&self) -> Usage {
        self.page.facts.usage
    }

    /// Usage if the backend reported none: the estimated prompt, and the counted part of the answer.
    pub fn estimate(&self, completion_tokens: u64) -> Usage {
        self.page.estimate(completion_tokens)
    }

    /// The request moves on to another endpoint (a retry).
    pub fn moved_to(&mut self, place: Place, endpoint: Arc<dyn Observer>) {
        self.page.place = place;
        self.page.observers[0] = Some(endpoint);
    }

    /// Sets an observer to be told, besides the endpoint, how the request ends.
    pub fn tell(&mut self, witness: Option<Arc<dyn Observer>>) {
        self.page.observers[1] = witness;
    }

    /// The request has reached this phase.
    pub fn reached(&mut self, phase: Phase) {
        self.page.facts.phase = phase;
    }

    /// From now on it waits for its turn.
    pub fn waits(&mut self) {
        self.page.facts.phase = Phase::Queued;
        self.page.facts.waits_since = Some(self.page.books.clock.now());
    }

    /// It has waited again, for this long.
    pub fn waited(&mut self, time: Duration) {
        self.page.facts.waits_since = None;
        self.page.facts.queued += time;
    }

    /// The request is on its way to the endpoint.
    pub fn connecting(&mut self) {
        self.page.facts.phase = Phase::Connecting;
    }

    /// The request is being sent. The attempt is counted from here on, so that the row mentions it even if the client
    /// hangs up meanwhile.
    pub fn sending(&mut self) -> Sending<'_> {
        let bills_to_end = self.page.place.bills_to_end;
        let outlasting = &self.page.arrival.outlasting;
        outlasting.set(false);
        let facts = &mut self.page.facts;
        let before = facts.attempts;
        facts.attempts = before + 1;
        Sending {
            facts,
            outlasting: bills_to_end.then_some(outlasting),
            before,
            begun: 0,
        }
    }

    /// The answer proves that the backend saw the request.
    pub fn seen(&mut self) {
        if self.page.facts.phase == Phase::Connecting {
            self.page.facts.phase = Phase::WaitingHeaders;
        }
    }

    pub fn phase(&self) -> Phase {
        self.page.facts.phase
    }

    /// The backend's status has arrived.
    pub fn answered(&mut self, upstream_status: u16) {
        self.page.facts.upstream_status = upstream_status;
    }

    /// The client is being sent this status.
    pub fn told(&mut self, http_status: u16) {
        if !self.page.has_left() {
            self.page.facts.http_status = http_status;
        }
    }

    /// The first bytes of the answer have arrived. Only the first call counts.
    pub fn first_byte(&mut self, at: Instant) {
        if !self.page.has_left() {
            self.page.facts.first_byte.get_or_insert(at);
        }
    }

    /// The error code that the client gets; empty: none.
    pub fn code(&mut self, code: impl Into<Cow<'static, str>>) {
        self.page.facts.error_code = code.into();
    }

    /// How far the answer has come, and its usage.
    pub fn relayed(&mut self, phase: Phase, response_bytes: u64, usage: Usage) {
        let has_left = self.page.has_left();
        let facts = &mut self.page.facts;
        facts.phase = phase;
        facts.usage = usage;
        if !has_left {
            facts.response_bytes = response_bytes;
        }
    }

    /// The client leaves in mid-answer. Returns whether the request goes on.
    pub fn leave(&mut self) -> bool {
        let left_before = self.page.has_left();
        let goes_on = self.page.arrival.outlasting.leave();
        if goes_on && !left_before {
            self.page.facts.left_in = Some(self.page.facts.phase);
        }
        goes_on
    }

    pub fn is_closed(&self) -> bool {
        self.page.is_closed()
    }

    /// Closes a request that nobody finished.
    pub fn abandon(&mut self) {
        self.page.abandon();
    }

    /// Hands over the final record. A second call does nothing.
    pub fn close(&mut self, outcome: Outcome) {
        self.page.close(outcome);
    }

    /// Ready once the final record is written. The client must not have the whole answer before that, or a SIGKILL
    /// could leave a row that contradicts it. [`super::Slot::poll_written`] limits the wait for a disk that hangs. Also
    /// ready while the receipt is open.
    pub fn poll_settled(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.page.poll_settled(task)
    }

    pub async fn settled(&mut self) {
        poll_fn(|task| self.poll_settled(task)).await;
    }
}

/// A request on its way to one endpoint. It may be written to a socket twice, if a reused connection turns out to be
/// dead.
pub struct Sending<'a> {
    facts: &'a mut Facts,
    /// `Some`: once it is being sent, it goes on when its client leaves.
    outlasting: Option<&'a Outlasting>,
    /// How often it was sent to other endpoints.
    before: u32,
    begun: u32,
}

impl Sending<'_> {
    /// `WaitingHeaders`: its bytes have begun to leave.
    pub fn reached(&mut self, phase: Phase) {
        self.facts.phase = phase;
        if let Some(outlasting) = self.outlasting {
            outlasting.set(phase == Phase::WaitingHeaders);
        }
        self.begun += u32::from(phase == Phase::WaitingHeaders);
        self.facts.attempts = self.before + self.begun.max(1);
    }

    /// No connection could be made.
    pub fn unsent(&mut self) {
        self.facts.attempts = self.before;
    }

    /// It was sent this many times.
    pub fn sent(&mut self, sends: u32) {
        self.facts.attempts = self.before + sends.max(1);
    }
}
