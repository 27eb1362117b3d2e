use std::sync::Arc;

use http::Response;
use ostia_core::{Clock, Identity, Phase, Sending};

use super::replicas::Replicas;
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
    pub(super) replicas: Option<&'a Replicas>,
    pub(super) clock: &'a dyn Clock,
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
        match self.replicas {
            // Hooks that named a URL meant that one.
            Some(replicas) if self.outgoing.origin.is_none() => self.send_to_any(replicas).await,
            _ => self.send_to_one().await,
        }
    }

    /// To the replicas in turn, as long as the last one surely did nothing.
    async fn send_to_any(self, replicas: &Replicas) -> Result<Response<AnswerBody>, Failure> {
        let Self {
            deployment,
            call,
            outgoing,
            client,
            mut sending,
            clock,
            ..
        } = self;
        let mut last = None;
        for at in replicas.order(clock.now()) {
            let outgoing = replicas.direct(at, deployment, &call.path(), &outgoing);
            match send(client, outgoing, &mut sending).await {
                Err(failure) if failure.retry_safe() => {
                    replicas.unreachable(at, clock.now());
                    last = Some(failure);
                }
                sent => return sent,
            }
        }
        Err(last.unwrap_or_else(unusable))
    }

    async fn send_to_one(mut self) -> Result<Response<AnswerBody>, Failure> {
        send(self.client, self.outgoing, &mut self.sending).await
    }
}

async fn send(
    client: Option<&Client>,
    outgoing: Outgoing,
    sending: &mut Sending<'_>,
) -> Result<Response<AnswerBody>, Failure> {
    let Some(client) = client else {
        sending.unsent();
        return Err(unusable());
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

fn unusable() -> Failure {
    let text = "the endpoint has no usable client";
    Failure::broken(FailureKind::Unreachable, Phase::Connecting, true, text)
}
