use std::borrow::Cow;
use std::time::Instant;

use ostia_core::{Outcome, Receipt, UsageSource};

use crate::admit::Admission;
use crate::fleet::Responses;

/// A request that was sent: its receipt and its admission end together, however it ends.
pub struct InFlight {
    pub receipt: Receipt,
    admission: Admission,
}

impl InFlight {
    pub fn new(receipt: Receipt, admission: Admission) -> Self {
        Self { receipt, admission }
    }

    /// The client is told this status.
    pub(super) fn told(&mut self, status: u16) {
        self.receipt.told(status);
    }

    /// The client is told this status, and the first bytes of the answer are there. The time of the first call counts.
    pub(super) fn begun(&mut self, status: u16, now: Instant) {
        self.told(status);
        self.receipt.first_byte(now);
    }

    /// Writes how it ended and turns the reservation into what was used. A second call does nothing.
    pub fn finish(&mut self, outcome: Outcome) {
        if self.receipt.is_closed() {
            return;
        }
        self.receipt.close(outcome);
        self.settle();
    }

    /// Ends it with an error of ours or the backend's: what the client is told, and nothing used.
    pub fn fail(&mut self, outcome: Outcome, http_status: u16, code: impl Into<Cow<'static, str>>) {
        self.receipt.told(http_status);
        self.receipt.code(code);
        self.finish(outcome);
    }

    /// Writes down that this caller made a response, so that nobody else can continue it.
    pub fn note_response(&self, responses: &Responses, id: &str) {
        let owner = &self.receipt.identity().user_id;
        responses.note(id, owner, self.receipt.endpoint_slug());
    }

    fn settle(&mut self) {
        let usage = self.receipt.usage();
        let used = match usage.source {
            UsageSource::None => 0,
            UsageSource::Upstream | UsageSource::Estimated => usage.total_tokens,
        };
        self.admission.settle(used);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.receipt.is_closed() {
            self.receipt.abandon();
            self.settle();
        }
    }
}
