use std::sync::Arc;
use std::time::Duration;

use ostia_core::{
    Ask, Candidate, Cost, Denial, DenialReason, EndpointHold, Grant, Limiter, Reserving, Standing,
    UserHold, UserLimits,
};

use super::RetryBudget;
use crate::catalog::Deployment;
use crate::identify::Principal;
use crate::rank::Ranked;

/// Why no endpoint was leased. A limit of the caller is 429, everything else 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("admission refused: {reason:?}")]
pub struct Refused {
    pub reason: DenialReason,
    pub retry_after: Duration,
    pub standing: Standing,
}

/// One request's place on exactly one endpoint. Given back on drop.
pub struct Lease {
    deployment: Arc<Deployment>,
    limiter: Arc<dyn Limiter>,
    hold: Option<EndpointHold>,
}

/// The right to send one request: the user's part of every limit, and a lease.
///
/// Only [`admit`] makes one. Dropped before [`Admission::dispatched`], it undoes all of it.
pub struct Admission {
    limiter: Arc<dyn Limiter>,
    user: Option<UserHold>,
    lease: Lease,
    /// Candidates not tried yet, in order of preference.
    untried: Vec<Arc<Deployment>>,
    user_id: Arc<str>,
    cost: Cost,
    standing: Standing,
    dispatched: bool,
}

/// Reserves everything the request needs on the first candidate with room.
pub async fn admit(
    limiter: &Arc<dyn Limiter>,
    principal: &Principal,
    limits: UserLimits,
    ranked: Ranked,
    cost: Cost,
) -> Result<Admission, Refused> {
    let mut candidates = ranked.into_candidates();
    let user_id = Arc::clone(&principal.user_id);
    let grant = reserve(limiter, &user_id, Some(limits), cost, &candidates).await?;
    let chosen = candidates.remove(grant.candidate);
    Ok(Admission {
        limiter: Arc::clone(limiter),
        user: grant.user,
        lease: Lease::new(Arc::clone(limiter), chosen, grant.endpoint),
        untried: candidates,
        user_id,
        cost,
        standing: grant.standing,
        dispatched: false,
    })
}

impl Admission {
    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.lease.deployment
    }

    /// How the caller stands with its limits, for `x-ratelimit-*`.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// From here on the request counts: a later failure gives its tokens back, but not its place in the rate.
    pub fn dispatched(&mut self) {
        self.dispatched = true;
    }

    /// After a failure on the leased endpoint: gives its part back and leases the next untried candidate; the user's
    /// part is kept, so a retry is charged once. `None` if there is no other, no room on it, or no retry left: the endpoint
    /// then learns of its failure from the request's receipt.
    pub async fn next(mut self, retry_safe: bool, budget: &RetryBudget) -> Option<Self> {
        if !retry_safe || self.untried.is_empty() || !budget.take() {
            return None;
        }
        self.lease.settle(0);
        let reserving = reserve(&self.limiter, &self.user_id, None, self.cost, &self.untried);
        let grant = reserving.await.ok()?;
        self.lease.deployment.state.breaker().failed();
        let chosen = self.untried.remove(grant.candidate);
        self.lease = Lease::new(Arc::clone(&self.limiter), chosen, grant.endpoint);
        self.standing = Standing {
            requests: self.standing.requests,
            ..grant.standing
        };
        Some(self)
    }

    /// The request is over: the reservation becomes what it really used, and the caller's place is free. Later calls
    /// change nothing.
    pub fn settle(&mut self, used_tokens: u64) {
        self.lease.settle(used_tokens);
        if let Some(hold) = self.user.take() {
            self.limiter.release_user(hold, !self.dispatched);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(0);
    }
}

impl Lease {
    fn new(limiter: Arc<dyn Limiter>, deployment: Arc<Deployment>, hold: EndpointHold) -> Self {
        deployment.state.begin();
        Self {
            deployment,
            limiter,
            hold: Some(hold),
        }
    }

    fn settle(&mut self, used_tokens: u64) {
        if let Some(hold) = self.hold.take() {
            self.limiter.settle(hold, used_tokens);
            self.deployment.state.end();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.settle(0);
    }
}

async fn reserve(
    limiter: &Arc<dyn Limiter>,
    user: &Arc<str>,
    user_limits: Option<UserLimits>,
    cost: Cost,
    deployments: &[Arc<Deployment>],
) -> Result<Grant, Refused> {
    let candidates: Vec<Candidate<'_>> = deployments
        .iter()
        .map(|deployment| Candidate {
            endpoint: &deployment.slug,
            tpm_model: deployment.tpm_model,
            tpm_user: deployment.tpm_user,
            max_in_flight: deployment.max_in_flight,
        })
        .collect();
    let reserving = limiter.reserve(&Ask {
        user,
        user_limits,
        cost,
        candidates: &candidates,
    });
    let answer = match reserving {
        Reserving::Now(answer) => answer,
        Reserving::Later(answer) => answer.await,
    };
    answer.map_err(Refused::from)
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self {
            reason: denial.reason,
            retry_after: denial.retry_after,
            standing: denial.standing,
        }
    }
}
