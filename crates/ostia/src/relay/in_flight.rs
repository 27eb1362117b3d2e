use std::borrow::Cow;
use std::time::Instant;

use ostia_core::{Outcome, Receipt, UsageSource};

use crate::admit::Admission;
use crate::ownership::Responses;

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
        self.receipt.facts.http_status = status;
    }

    /// The client is told this status, and the first bytes of the answer are there. The time of the first call counts.
    pub(super) fn begun(&mut self, status: u16, now: Instant) {
        self.told(status);
        self.receipt.facts.first_byte.get_or_insert(now);
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
        self.receipt.facts.http_status = http_status;
        self.receipt.facts.error_code = code.into();
        self.finish(outcome);
    }

    /// Writes down that this caller made a response, so that nobody else can continue it.
    pub fn note_response(&self, responses: &Responses, id: &str) {
        let opening = self.receipt.opening();
        responses.note(id, &opening.identity.user_id, &opening.endpoint_slug);
    }

    fn settle(&mut self) {
        let usage = self.receipt.facts.usage;
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
