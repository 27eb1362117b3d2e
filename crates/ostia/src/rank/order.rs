use std::sync::Arc;
use std::time::Duration;

use super::choice::{Home, RUNNING, Readiness, Signals};
use super::trail::Trail;
use crate::authorize::Permit;
use crate::catalog::{Deployment, NotTaken, Serving};
use crate::fleet::{Fleet, ModelState};
use crate::scan::Sightings;

/// Endpoints in order of preference. Only [`rank`] makes one, and then it is not empty. It keeps the permit that it was
/// made from, so that a request can be ranked again after a wait.
#[derive(Debug)]
pub struct Ranked {
    permit: Permit,
    trail: Trail,
    fleet: Arc<Fleet>,
    candidates: Vec<Arc<Deployment>>,
    /// For each candidate, how many tokens it would have to read for this request.
    uncached: Vec<u64>,
    /// Slugs of endpoints that were tried already.
    tried: Vec<Arc<str>>,
    /// Why no candidate takes the request yet, if it is worth waiting for one to start.
    starting: Option<Starting>,
}

/// Endpoints that are not running, and for which requests wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starting {
    pub fault: NotServing,
    /// How long a request waits at most.
    pub patience: Duration,
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

/// Leaves out endpoints that do not take the body, and ranks the others by their [`Signals`]. Stand-ins follow where none
/// of the model itself is ready.
///
/// `seen`: what the scan saw in the body. `now`: Unix microseconds. If no endpoint serves, the error is that of the one
/// closest to serving.
pub fn rank(
    permit: Permit,
    seen: &Sightings,
    trail: Trail,
    fleet: &Arc<Fleet>,
    now: i64,
) -> Result<Ranked, NoCandidate> {
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
    let mut ranked = Ranked {
        permit,
        trail,
        fleet: Arc::clone(fleet),
        candidates: Vec::new(),
        uncached: Vec::new(),
        tried: Vec::new(),
        starting: None,
    };
    ranked.rank_again(now)?;
    Ok(ranked)
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
        let mut all = Vec::new();
        let mut nearest: Option<NotServing> = None;
        for (stand_in, tier) in (0..).zip(self.permit.tiers()) {
            let (serving, fault) = serving(tier, &self.tried, now);
            nearest = nearest.or(fault);
            let known = self.trail.known_to(&serving, self.fleet.prefixes());
            for (deployment, known) in serving.into_iter().zip(known) {
                all.push((signals(&deployment, stand_in, known), deployment));
            }
        }
        if all.is_empty() {
            return self.wait_for_start(nearest.unwrap_or(NotServing::NoneReady), now);
        }
        self.starting = None;
        if all.len() > 1 {
            all.sort_by_cached_key(|(signals, _)| (signals.number(), self.fleet.chance()));
        }
        // If an endpoint of a model is ready, its stand-ins are not tried.
        if let Some((first, _)) = all
            .first()
            .filter(|(one, _)| one.readiness == Readiness::Ready)
        {
            let tier = first.stand_in;
            all.retain(|(one, _)| one.stand_in <= tier);
        }
        (self.uncached, self.candidates) = all
            .into_iter()
            .map(|(signals, deployment)| (signals.uncached, deployment))
            .unzip();
        Ok(())
    }

    /// Why none of the candidates takes a request yet; `None`: they do.
    pub fn starting(&self) -> Option<&Starting> {
        self.starting.as_ref()
    }

    /// Keeps endpoints whose start requests may wait for, if there are any.
    fn wait_for_start(&mut self, fault: NotServing, now: i64) -> Result<(), NotServing> {
        let waits = |one: &&Arc<Deployment>| {
            let is_waited_for = one.wait_for_start.is_some() && !self.tried.contains(&one.slug);
            is_waited_for && matches!(fault_of(one, now), Some(NotServing::NotRunning { .. }))
        };
        let all = self.permit.tiers().flatten().filter(waits);
        let all: Vec<_> = all.map(Arc::clone).collect();
        let Some(patience) = all.iter().filter_map(|one| one.wait_for_start).max() else {
            return Err(fault);
        };
        self.starting = Some(Starting { fault, patience });
        self.uncached = vec![0; all.len()];
        self.candidates = all;
        Ok(())
    }

    /// The same, including endpoints that were tried, because they may take the request now.
    pub fn rank_all(&mut self, now: i64) -> Result<(), NotServing> {
        let tried = std::mem::take(&mut self.tried);
        let ranked = self.rank_again(now);
        if ranked.is_err() {
            self.tried = tried;
        }
        ranked
    }

    /// Removes the endpoint that a request is sent to; none may be left. Also returns how many tokens it has to read.
    pub fn take(&mut self, at: usize) -> (Arc<Deployment>, u64) {
        let taken = self.candidates.remove(at);
        let uncached = self.uncached.remove(at);
        self.tried.push(Arc::clone(&taken.slug));
        self.trail.leads_to(&taken, self.fleet.prefixes());
        (taken, uncached)
    }
}

/// The facts by which an endpoint is ranked now. `known`: why part of the work may be done already, and what is left.
pub fn signals(deployment: &Deployment, stand_in: u32, known: (Home, u64)) -> Signals {
    let state = &deployment.state;
    let (home, uncached) = known;
    Signals {
        readiness: match state.returns_in() {
            Some(wait) => Readiness::Away(wait),
            None if state.is_suspect() => Readiness::Suspect,
            None => Readiness::Ready,
        },
        stand_in,
        priority: deployment.priority,
        is_full: state.best_point().is_full(state.in_flight()),
        work: state.unread() + u64::from(state.in_flight()) * RUNNING,
        uncached,
        home,
        weight: deployment.weight,
        share: state.share(),
    }
}

/// The endpoints that accept requests, and why the one closest to accepting does not.
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
                    ModelState::Stopped | ModelState::Unknown | ModelState::Draining => 2,
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

/// An unknown state never causes a refusal: inference must go on when the source of states is down.
fn not_running(deployment: &Deployment, now: i64) -> Option<NotServing> {
    let live = &deployment.state;
    let waits = |state| {
        use ModelState::{Queued, Starting, Stopped};
        matches!(state, Starting | Queued | Stopped)
    };
    let unlisted = deployment.require_listed && live.is_unlisted();
    let leased = deployment.leased_state();
    let state = if let Some(state) = leased {
        if state == ModelState::Running {
            return None;
        }
        state
    } else if deployment.require_running && (waits(live.model_state()) || unlisted) {
        live.model_state()
    } else if waits(live.readiness()) && deployment.is_watched() {
        live.readiness()
    } else {
        return None;
    };
    let by_cluster = || {
        let seconds = live.expected_start()?.checked_sub(now / 1_000_000)?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    };
    let starts_in = live.leases().starts_in().or_else(by_cluster);
    Some(NotServing::NotRunning {
        model: Arc::clone(&deployment.model),
        state,
        unlisted,
        starts_in: starts_in.filter(|_| state != ModelState::Stopped),
    })
}
