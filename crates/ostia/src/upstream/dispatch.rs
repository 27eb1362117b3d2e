use std::sync::Arc;

use ostia_core::{Phase, Receipt, Sending};

use super::client::{Client, within};
use super::clients::Clients;
use super::{Answer, Failure, FailureKind, Stats, UpstreamBody};
use crate::admit::Admission;
use crate::catalog::{Catalog, Serving};
use crate::endpoint::Outgoing;

/// The clients of one catalog, by the deployments' index.
#[derive(Default)]
pub struct Upstreams {
    clients: Vec<Option<Arc<Client>>>,
}

impl Upstreams {
    /// A deployment whose TLS files or proxy cannot be used gets no client: one ERROR line, and 502 for its callers. One
    /// that is not served needs none, and had its line.
    pub fn build(catalog: &Catalog, clients: &Clients) -> Self {
        let clients = catalog
            .deployments()
            .iter()
            .map(|deployment| {
                if deployment.serving != Serving::Yes {
                    return None;
                }
                let client = clients.client(&deployment.target);
                client
                    .map_err(|error| {
                        tracing::error!(endpoint = &*deployment.slug, %error, "the endpoint cannot be called");
                    })
                    .ok()
            })
            .collect();
        Self { clients }
    }

    /// What the connections of all of them do right now.
    pub fn stats(&self) -> Stats {
        let mut all = Stats::default();
        for client in self.clients.iter().flatten() {
            let stats = client.stats();
            all.open += stats.open;
            all.idle += stats.idle;
            all.in_use += stats.in_use;
            all.opened_total += stats.opened_total;
        }
        all
    }

    pub fn client(&self, index: usize) -> Option<&Arc<Client>> {
        self.clients.get(index)?.as_ref()
    }
}

/// Sends a request to the leased endpoint. Without an admission and a receipt nothing is sent: the one says that the
/// caller may, the other that it is written down.
///
/// ```no_run
/// use ostia::{admit::Admission, endpoint::Outgoing, upstream::{Upstreams, send}};
/// use ostia_core::Receipt;
///
/// async fn go(all: &Upstreams, admission: &Admission, receipt: &mut Receipt, outgoing: Outgoing) {
///     let _ = send(all, admission, receipt, outgoing).await;
/// }
/// ```
///
/// Neither can be left out:
///
/// ```compile_fail,E0061
/// use ostia::{admit::Admission, endpoint::Outgoing, upstream::{Upstreams, send}};
///
/// async fn go(all: &Upstreams, admission: &Admission, outgoing: Outgoing) {
///     let _ = send(all, admission, outgoing).await;
/// }
/// ```
///
/// ```compile_fail,E0061
/// use ostia::{endpoint::Outgoing, upstream::{Upstreams, send}};
/// use ostia_core::Receipt;
///
/// async fn go(all: &Upstreams, receipt: &mut Receipt, outgoing: Outgoing) {
///     let _ = send(all, receipt, outgoing).await;
/// }
/// ```
///
/// And an earlier stage's value cannot be made by hand:
///
/// ```compile_fail,E0451
/// let permit = ostia::authorize::Permit { model: "m".into(), deployments: Vec::new() };
/// ```
pub async fn send(
    upstreams: &Upstreams,
    admission: &Admission,
    receipt: &mut Receipt,
    outgoing: Outgoing,
) -> Result<Answer<UpstreamBody>, Failure> {
    receipt.connecting();
    let Some(client) = upstreams.client(admission.deployment().index) else {
        return Err(Failure {
            kind: FailureKind::Unreachable,
            phase: Phase::Connecting,
            retry_safe: true,
            sends: 0,
            detail: "the endpoint has no usable client".to_owned(),
        });
    };
    let age = client.now().saturating_duration_since(receipt.received());
    let left = outgoing
        .timeouts
        .total
        .map(|total| total.saturating_sub(age));
    let mut sending = receipt.sending();
    let mut progress = |phase| sending.reached(phase);
    let sent = within(left, client.send(outgoing, &mut progress)).await;
    let sent = sent.unwrap_or_else(|| Err(out_of_time(&sending)));
    sending.sent(match &sent {
        Ok(answer) => answer.sends,
        Err(failure) => failure.sends,
    });
    sent
}

/// The time for the whole exchange is over before its answer began.
fn out_of_time(sending: &Sending<'_>) -> Failure {
    Failure {
        kind: FailureKind::Timeout,
        phase: sending.phase(),
        retry_safe: false,
        sends: sending.sends(),
        detail: "no head of an answer within the total timeout".to_owned(),
    }
}
