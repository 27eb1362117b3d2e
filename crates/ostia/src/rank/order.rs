use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use crate::authorize::Permit;
use crate::catalog::{Deployment, NotTaken, Serving};
use crate::fleet::ModelState;
use crate::scan::Sightings;

/// Endpoints in order of preference. Only [`rank`] makes one, and then it is not empty. It keeps the permit that it was
/// made from, so that a request can be ranked again after a wait.
#[derive(Debug)]
pub struct Ranked {
    permit: Permit,
    candidates: Vec<Arc<Deployment>>,
    /// Slugs of those that had the request already.
    tried: Vec<Arc<str>>,
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

/// Leaves out endpoints that do not take the body. Of the others first those that are here and did not fail lately, then
/// those of lower `priority`, then the least loaded for its weight. Stand-ins follow where none of the model itself is
/// ready.
///
/// `seen`: what the scan saw in the body. `now`: Unix microseconds. If no endpoint serves, the error is that of the one
/// closest to serving.
pub fn rank(permit: Permit, seen: &Sightings, now: i64) -> Result<Ranked, NoCandidate> {
    let refusal = |deployment: &Deployment| deployment.policy.refusal(seen);
    let mut refused = None;
    let permit = permit.without(|deployment| {
        let reason = refusal(deployment);
        let is_refused = reason.is_some();
        refused = refused.take().or(reason);
        is_refused
    });
    let permit = match (permit, refused) {
        (Some(permit), _) => permit,
        (None, Some(reason)) => return Err(NoCandidate::NotTaken(reason)),
        (None, None) => return Err(NotServing::NoneReady.into()),
    };
    let candidates = order(&permit, &[], now)?;
    Ok(Ranked {
        permit,
        candidates,
        tried: Vec::new(),
    })
}

impl Ranked {
    pub fn candidates(&self) -> &[Arc<Deployment>] {
        &self.candidates
    }

    /// The canonical name of the model that was asked for.
    pub fn model(&self) -> &Arc<str> {
        self.permit.model()
    }

    /// Ranks the endpoints that were not tried by their present state. If none serves any more, the order does not
    /// change.
    pub fn rank_again(&mut self, now: i64) -> Result<(), NotServing> {
        self.candidates = order(&self.permit, &self.tried, now)?;
        Ok(())
    }

    /// The same with those that were tried: they may take the request now.
    pub fn rank_all(&mut self, now: i64) -> Result<(), NotServing> {
        self.candidates = order(&self.permit, &[], now)?;
        self.tried.clear();
        Ok(())
    }

    /// Removes the endpoint that a request is sent to. The rest may be empty.
    pub fn take(&mut self, at: usize) -> Arc<Deployment> {
        let taken = self.candidates.remove(at);
        self.tried.push(Arc::clone(&taken.slug));
        taken
    }
}

/// The first tier with an endpoint that is ready; before it nothing, behind it what may be used if it fails.
fn order(
    permit: &Permit,
    tried: &[Arc<str>],
    now: i64,
) -> Result<Vec<Arc<Deployment>>, NotServing> {
    let mut candidates = Vec::new();
    let mut nearest: Option<NotServing> = None;
    for tier in permit.tiers() {
        let (mut serving, fault) = serving(tier, tried, now);
        nearest = nearest.or(fault);
        serving.sort_by_cached_key(|deployment| preference(deployment));
        let is_ready = serving
            .first()
            .is_some_and(|first| readiness(first) == Readiness::Ready);
        if is_ready {
            serving.append(&mut candidates);
            return Ok(serving);
        }
        candidates.append(&mut serving);
    }
    match candidates.is_empty() {
        false => Ok(candidates),
        true => Err(nearest.unwrap_or(NotServing::NoneReady)),
    }
}

/// The endpoints that accept requests, and why the one that is closest to it does not.
fn serving(
    all: &[Arc<Deployment>],
    tried: &[Arc<str>],
    now: i64,
) -> (Vec<Arc<Deployment>>, Option<NotServing>) {
    let mut serving = all.to_vec();
    let mut nearest: Option<NotServing> = None;
    serving.retain(|deployment| {
        let Some(fault) = fault_of(deployment, now) else {
            return !tried.contains(&deployment.slug);
        };
        let known = nearest.as_ref().map(NotServing::distance);
        if known.is_none_or(|known| fault.distance() < known) {
            nearest = Some(fault);
        }
        false
    });
    (serving, nearest)
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

/// Whether an endpoint that serves should get the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    Ready,
    /// It failed lately.
    Suspect,
    /// It said that it takes nothing for so long, or could not be reached.
    Away(Duration),
}

fn readiness(deployment: &Deployment) -> Readiness {
    let state = &deployment.state;
    match state.returns_in() {
        Some(wait) => Readiness::Away(wait),
        None if state.is_suspect() => Readiness::Suspect,
        None => Readiness::Ready,
    }
}

fn preference(deployment: &Deployment) -> (Readiness, i64, u64, Reverse<u32>) {
    let share = u64::from(deployment.weight.max(1)) * deployment.state.share();
    let load = (u64::from(deployment.state.in_flight()) + 1) * 100_000 / share;
    (
        readiness(deployment),
        deployment.priority,
        load,
        Reverse(deployment.weight),
    )
}
