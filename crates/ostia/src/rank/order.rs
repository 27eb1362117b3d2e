use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use crate::authorize::Permit;
use crate::catalog::{Deployment, NotTaken, Serving};
use crate::fleet::ModelState;
use crate::scan::Sightings;

/// Endpoints in order of preference. Only [`rank`] makes one, and it is never empty. It keeps the permit that it was
/// made from, so that a request can be ranked again after a wait.
#[derive(Debug)]
pub struct Ranked {
    permit: Permit,
    candidates: Vec<Arc<Deployment>>,
}

/// Why no endpoint is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCandidate {
    /// Each permitted endpoint refuses the body; this is the first one's reason.
    #[error(transparent)]
    NotTaken(NotTaken),
    #[error(transparent)]
    NotServing(#[from] NotServing),
}

/// Why none of the permitted endpoints accepts requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServing {
    /// The endpoint's entry requires that the model is running, and it is not.
    #[error("the model is not running: {}", .state.as_str())]
    NotRunning {
        model: Arc<str>,
        state: ModelState,
        /// A fresh listing of the cluster does not include the model.
        unlisted: bool,
        /// The time until the scheduler expects it to start.
        starts_in: Option<Duration>,
    },
    #[error("the endpoint's entry has a mistake")]
    Disabled,
    #[error("the endpoint's adapter is not served by this version")]
    AdapterUnavailable,
    #[error("every endpoint is draining")]
    NoneReady,
}

/// Leaves out endpoints that do not take the body. Of the others, lower `priority` first, then endpoints that did not
/// fail lately, then those below the number of requests that they serve best, then the least loaded for its weight.
///
/// `seen`: what the scan saw in the body. `now`: Unix microseconds. If no endpoint serves, the error is that of the one
/// closest to serving.
pub fn rank(permit: Permit, seen: &Sightings, now: i64) -> Result<Ranked, NoCandidate> {
    let refusal = |deployment: &Deployment| deployment.policy.refusal(seen);
    let first = permit.deployments().iter().find_map(|one| refusal(one));
    let permit = match first {
        None => permit,
        Some(reason) => permit
            .without(|deployment| refusal(deployment).is_some())
            .ok_or(NoCandidate::NotTaken(reason))?,
    };
    let candidates = order(&permit, now)?;
    Ok(Ranked { permit, candidates })
}

impl Ranked {
    pub fn candidates(&self) -> &[Arc<Deployment>] {
        &self.candidates
    }

    /// The canonical name of the model that all of them serve.
    pub fn model(&self) -> &Arc<str> {
        self.permit.model()
    }

    /// Ranks the same endpoints by their present state. If none serves any more, the order does not change.
    pub fn rank_again(&mut self, now: i64) -> Result<(), NotServing> {
        self.candidates = order(&self.permit, now)?;
        Ok(())
    }

    /// Removes the endpoint that a request is sent to. The rest may be empty.
    pub fn take(&mut self, at: usize) -> Arc<Deployment> {
        self.candidates.remove(at)
    }
}

fn order(permit: &Permit, now: i64) -> Result<Vec<Arc<Deployment>>, NotServing> {
    let mut candidates = permit.deployments().to_vec();
    let mut nearest: Option<NotServing> = None;
    candidates.retain(|deployment| {
        let Some(fault) = fault_of(deployment, now) else {
            return true;
        };
        if nearest
            .as_ref()
            .is_none_or(|known| fault.distance() < known.distance())
        {
            nearest = Some(fault);
        }
        false
    });
    if candidates.is_empty() {
        return Err(nearest.unwrap_or(NotServing::NoneReady));
    }
    if candidates.len() > 1 {
        candidates.sort_by_cached_key(|deployment| preference(deployment));
    }
    Ok(candidates)
}

impl NotServing {
    /// How far the endpoint is from serving.
    fn distance(&self) -> (u8, Duration) {
        match self {
            Self::NotRunning {
                state, starts_in, ..
            } => {
                let kind = match state {
                    ModelState::Running | ModelState::Starting => 0,
                    ModelState::Queued => 1,
                    ModelState::Stopped | ModelState::Unknown => 2,
                };
                (kind, starts_in.unwrap_or(Duration::MAX))
            }
            Self::NoneReady => (3, Duration::ZERO),
            Self::AdapterUnavailable => (4, Duration::ZERO),
            Self::Disabled => (5, Duration::ZERO),
        }
    }
}

/// Why a deployment gets no requests now. `now`: Unix microseconds.
pub fn fault_of(deployment: &Deployment, now: i64) -> Option<NotServing> {
    match &deployment.serving {
        Serving::Disabled(_) => Some(NotServing::Disabled),
        Serving::AdapterUnavailable(_) => Some(NotServing::AdapterUnavailable),
        Serving::Yes if deployment.state.is_draining() => Some(NotServing::NoneReady),
        Serving::Yes => not_running(deployment, now),
    }
}

/// An unknown state refuses nobody: when the source of states is down, inference must go on.
fn not_running(deployment: &Deployment, now: i64) -> Option<NotServing> {
    let live = &deployment.state;
    let waits = |state| {
        use ModelState::{Queued, Starting, Stopped};
        matches!(state, Starting | Queued | Stopped)
    };
    let unlisted = deployment.require_listed && live.is_unlisted();
    let state = if deployment.require_running && (waits(live.model_state()) || unlisted) {
        live.model_state()
    } else if waits(live.readiness()) && deployment.readiness_url.is_some() {
        live.readiness()
    } else {
        return None;
    };
    let starts_in = live.expected_start().and_then(|at| {
        let seconds = at.checked_sub(now / 1_000_000)?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    });
    Some(NotServing::NotRunning {
        model: Arc::clone(&deployment.model),
        state,
        unlisted,
        starts_in: starts_in.filter(|_| state != ModelState::Stopped),
    })
}

fn preference(deployment: &Deployment) -> (i64, bool, bool, u64, Reverse<u32>) {
    let suspect = deployment.state.is_suspect();
    let best = deployment.state.best_point().known();
    let is_full = best.is_some_and(|best| deployment.state.in_flight() >= best);
    let weight = u64::from(deployment.weight.max(1));
    let load = (u64::from(deployment.state.in_flight()) + 1) * 1_000 / weight;
    (
        deployment.priority,
        suspect,
        is_full,
        load,
        Reverse(deployment.weight),
    )
}
