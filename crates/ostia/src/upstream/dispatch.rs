use std::sync::Arc;

use ostia_core::{Facts, Phase};

use super::client::{Client, within};
use super::clients::Clients;
use super::{Answer, Failure, FailureKind, Stats, UpstreamBody};
use crate::admit::Attempt;
use crate::catalog::{Catalog, Serving};
use crate::upstream::Outgoing;

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

/// Sends a request to the leased endpoint. Without an attempt nothing is sent: it proves that the caller may, and that it
/// is written down.
///
/// ```no_run
/// use ostia::{admit::Attempt, upstream::{Outgoing, Upstreams, send}};
///
/// async fn go(all: &Upstreams, attempt: &mut Attempt, outgoing: Outgoing) {
///     let _ = send(all, attempt, outgoing).await;
/// }
/// ```
///
/// It cannot be left out:
///
/// ```compile_fail,E0061
/// use ostia::upstream::{Outgoing, Upstreams, send};
///
/// async fn go(all: &Upstreams, outgoing: Outgoing) {
///     let _ = send(all, outgoing).await;
/// }
/// ```
///
/// An admission alone is none, as nothing is written down yet:
///
/// ```compile_fail,E0308
/// use ostia::{admit::Admission, upstream::{Outgoing, Upstreams, send}};
///
/// async fn go(all: &Upstreams, admission: &mut Admission, outgoing: Outgoing) {
///     let _ = send(all, admission, outgoing).await;
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
    attempt: &mut Attempt,
    outgoing: Outgoing,
) -> Result<Answer<UpstreamBody>, Failure> {
    attempt.sent();
    let client = upstreams.client(attempt.deployment().index);
    let receipt = attempt.receipt_mut();
    receipt.facts.phase = Phase::Connecting;
    let Some(client) = client else {
        return Err(Failure {
            kind: FailureKind::Unreachable,
            phase: Phase::Connecting,
            retry_safe: true,
            sends: 0,
            detail: "the endpoint has no usable client".to_owned(),
        });
    };
    let before = receipt.facts.attempts;
    let age = client
        .now()
        .saturating_duration_since(receipt.opening().received);
    let left = outgoing
        .timeouts
        .total
        .map(|total| total.saturating_sub(age));
    let facts = &mut receipt.facts;
    // Counted as it goes: whoever hangs up meanwhile leaves a row that knows of the backend.
    facts.attempts = before + 1;
    let mut begun = 0;
    let mut progress = |phase| {
        facts.phase = phase;
        begun += u32::from(phase == Phase::WaitingHeaders);
        facts.attempts = before + begun.max(1);
    };
    let sent = within(left, client.send(outgoing, &mut progress)).await;
    let sent = sent.unwrap_or_else(|| Err(out_of_time(&receipt.facts, before)));
    let sends = match &sent {
        Ok(answer) => answer.sends,
        Err(failure) => failure.sends,
    };
    receipt.facts.attempts = before + sends.max(1);
    sent
}

/// The time for the whole exchange is over before its answer began.
fn out_of_time(facts: &Facts, attempts_before: u32) -> Failure {
    let sends = facts.attempts - attempts_before;
    Failure {
        kind: FailureKind::Timeout,
        phase: facts.phase,
        retry_safe: false,
        sends,
        detail: "no head of an answer within the total timeout".to_owned(),
    }
}
