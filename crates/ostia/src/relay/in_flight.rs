use std::borrow::Cow;
use std::time::Instant;

use ostia_core::{Outcome, Receipt};

use crate::admit::Attempt;
use crate::ownership::Responses;

/// A request that a backend is answering. Its receipt and its reservations end together, however it ends.
pub struct InFlight(Attempt);

impl InFlight {
    pub fn new(attempt: Attempt) -> Self {
        Self(attempt)
    }

    pub(super) fn receipt(&self) -> &Receipt {
        self.0.receipt()
    }

    pub(super) fn receipt_mut(&mut self) -> &mut Receipt {
        self.0.receipt_mut()
    }

    /// Records the status that the client gets.
    pub(super) fn told(&mut self, status: u16) {
        self.receipt_mut().told(status);
    }

    /// Records the status, and that the first bytes of the response have arrived. The first call sets the time.
    pub(super) fn begun(&mut self, status: u16, now: Instant) {
        self.told(status);
        self.0.begun();
        self.receipt_mut().first_byte(now);
    }

    /// Hands in the outcome and settles the reservation with what was used. A second call does nothing.
    pub fn finish(&mut self, outcome: Outcome) {
        self.0.close(outcome);
    }

    /// Ends it with an error, ours or the backend's: records what the client is told, and that nothing was used.
    pub fn fail(&mut self, outcome: Outcome, http_status: u16, code: impl Into<Cow<'static, str>>) {
        self.receipt_mut().told(http_status);
        self.receipt_mut().code(code);
        self.finish(outcome);
    }

    /// Records that this caller made a response, so that nobody else can continue it.
    pub fn note_response(&self, responses: &Responses, id: &str) {
        let receipt = self.receipt();
        responses.note(id, &receipt.identity().user_id, receipt.endpoint_slug());
    }
}
