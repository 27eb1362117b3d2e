use std::sync::Arc;

use http::Response;
use ostia_core::{Identity, Phase, Sending};

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
    /// What is to be sent: the direct API's request, with the changes of hooks.
    pub outgoing: Outgoing,
    pub(super) client: Option<&'a Client>,
    /// What the ledger records of it.
    pub(super) sending: Sending<'a>,
}

impl Exchange<'_> {
    /// Call this right before the backend sees the request. A failure after it may have done the work and is counted;
    /// the row of a caller that hangs up shows that the backend was involved.
    pub fn sending(&mut self) {
        self.sending.reached(Phase::WaitingHeaders);
    }

    /// The direct API's response to `outgoing`: over the endpoint's own connections, with its TLS, proxy and timeouts.
    pub async fn direct(self) -> Result<Response<AnswerBody>, Failure> {
        let Self {
            outgoing,
            client,
            mut sending,
            ..
        } = self;
        let Some(client) = client else {
            sending.unsent();
            return Err(Failure::broken(
                FailureKind::Unreachable,
                Phase::Connecting,
                true,
                "the endpoint has no usable client",
            ));
        };
        let sent = client
            .send(outgoing, &mut |phase| sending.reached(phase))
            .await;
        match sent {
            Ok(upstream::UpstreamResponse { head, body, sends }) => {
                sending.sent(sends);
                Ok(Response::from_parts(head, AnswerBody::Http(body)))
            }
            Err(failure) => {
                sending.sent(failure.sends);
                Err(Failure::Broken(failure))
            }
        }
    }
}
