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
    /// What is to be sent: as the direct API would, with the changes of hooks in it.
    pub outgoing: Outgoing,
    pub(super) client: Option<&'a Client>,
    /// What the ledger learns of it.
    pub(super) sending: Sending<'a>,
}

impl Exchange<'_> {
    /// The backend is about to see the request. Whatever fails from here on may have done the work, and is counted; a
    /// caller that hangs up leaves a row that knows of the backend.
    pub fn sending(&mut self) {
        self.sending.reached(Phase::WaitingHeaders);
    }

    /// The answer of the direct API to `outgoing`: over the endpoint's own connections, with its TLS, proxy and timeouts.
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
