use std::sync::Arc;

use http::Response;
use ostia_core::{Clock, Identity, Phase, Sending};

use super::replicas::Replicas;
use super::{AnswerBody, Failure, Leased};
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
    pub(super) leased: Option<&'a Leased>,
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
        // Hooks that named a URL meant that one.
        let is_own = self.outgoing.origin.is_none();
        match (self.replicas, self.leased) {
            (_, Some(leased)) if is_own => self.send_to_leased(leased).await,
            (Some(replicas), None) if is_own => self.send_to_any(replicas).await,
            _ => self.send_to_one().await,
        }
    }

    /// To the engines that have leases, as long as the last one surely did nothing.
    async fn send_to_leased(mut self, leased: &Leased) -> Result<Response<AnswerBody>, Failure> {
        let leases = self.deployment.state.leases();
        let api = self.call.path();
        let mut tried = Vec::new();
        let mut last = None;
        while let Some(place) = leases.take(&tried) {
            tried.push(Arc::clone(&place.id));
            let (client, path_and_query) = match leased.route(&place, &api) {
                Some(route) => route,
                None => continue,
            };
            let outgoing = Outgoing {
                path_and_query,
                ..self.outgoing.clone()
            };
            match send(Some(&client), outgoing, &mut self.sending).await {
                Ok(response) => {
                    match response.status().is_server_error() {
                        true => place.failed(),
                        false => place.answered(),
                    }
                    return Ok(response.map(|body| body.counted(place)));
                }
                Err(failure) if failure.retry_safe() => {
                    place.unreached();
                    last = Some(failure);
                }
                Err(failure) => {
                    place.failed();
                    return Err(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            self.sending.unsent();
            let text = "no engine of the endpoint has a lease";
            Failure::broken(FailureKind::Unreachable, Phase::Connecting, true, text)
        }))
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
