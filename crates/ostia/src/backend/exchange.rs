use std::sync::Arc;

use http::Response;
use ostia_core::{Identity, Phase, Receipt};

use super::{AnswerBody, Failure};
use crate::catalog::Deployment;
use crate::read::Call;
use crate::upstream::{self, Client, FailureKind, Outgoing};

/// One request on its way to an endpoint.
pub struct Exchange<'a> {
    pub principal: &'a Identity,
    pub deployment: &'a Arc<Deployment>,
    /// What the client sent.
    pub call: &'a Call,
    /// What is to be sent: as the direct API would, with the changes of hooks in it.
    pub outgoing: Outgoing,
    pub(super) client: Option<&'a Client>,
    pub(super) track: Track<'a>,
}

/// What the ledger learns of a request on its way: how far it came, and how often a backend may have seen it.
pub(super) struct Track<'a> {
    receipt: &'a mut Receipt,
    /// Attempts before this call.
    before: u32,
    begun: u32,
}

impl Exchange<'_> {
    /// The backend is about to see the request. Whatever fails from here on may have done the work, and is counted; a
    /// caller that hangs up leaves a row that knows of the backend.
    pub fn sending(&mut self) {
        self.track.enter(Phase::WaitingHeaders);
    }

    /// The answer of the direct API to `outgoing`: over the endpoint's own connections, with its TLS, proxy and timeouts.
    pub async fn direct(self) -> Result<Response<AnswerBody>, Failure> {
        let Self {
            outgoing,
            client,
            mut track,
            ..
        } = self;
        let Some(client) = client else {
            track.unsent();
            return Err(Failure::broken(
                FailureKind::Unreachable,
                Phase::Connecting,
                true,
                "the endpoint has no usable client",
            ));
        };
        let sent = client.send(outgoing, &mut |phase| track.enter(phase)).await;
        match sent {
            Ok(upstream::Answer { head, body, sends }) => {
                track.sent(sends);
                Ok(Response::from_parts(head, AnswerBody::Http(body)))
            }
            Err(failure) => {
                track.sent(failure.sends);
                Err(Failure::Broken(failure))
            }
        }
    }
}

impl<'a> Track<'a> {
    /// A call begins. It counts at once: whoever hangs up meanwhile leaves a row that knows of the backend.
    pub(super) fn begin(receipt: &'a mut Receipt) -> Self {
        let before = receipt.facts.attempts;
        receipt.facts.phase = Phase::Connecting;
        receipt.facts.attempts = before + 1;
        Self {
            receipt,
            before,
            begun: 0,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.begun += u32::from(phase == Phase::WaitingHeaders);
        self.receipt.facts.phase = phase;
        self.receipt.facts.attempts = self.before + self.begun.max(1);
    }

    /// Nobody could be called.
    fn unsent(&mut self) {
        self.receipt.facts.attempts = self.before;
    }

    /// How often bytes of the request left, when it is over.
    fn sent(&mut self, sends: u32) {
        self.receipt.facts.attempts = self.before + sends.max(1);
    }
}
