use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::{Ask, Class, Clock, Cost, Grant, Identity, Limiter, Reserving, Scope, Standing};

use super::admission::{Admission, Leased};
use super::cost::{cost, likely_service};
use super::fair::Party;
use super::limits::{claims, own_limits};
use super::queue::{Queues, Seat};
use super::{LocalLimiter, Refused, RetryBudget, Shortage};
use crate::catalog::Deployment;
use crate::identify::Principal;
use crate::rank::Ranked;
use crate::read::Demand;
use crate::settings::{Limits, OwnLimits};

/// What a caller is told to wait for where only the end of another request helps, and how long a waiter relies on being
/// called: what comes back elsewhere calls nobody here.
const SHORTLY: Duration = Duration::from_secs(1);
/// Forecasts beyond this are as good as never.
const FAR_OFF: Duration = Duration::from_secs(3600);

/// Lets requests in, moves them on after a failure, and out. It owns the limiter and the queues.
#[derive(Clone)]
pub struct Admitter(Arc<Shared>);

/// A request that wants to be let in.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub principal: &'a Principal,
    pub limits: &'a Limits,
    pub demand: &'a Demand,
    pub class: Class,
}

pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    limiter: Arc<dyn Limiter>,
    /// Holds the limits while the other one does not answer.
    fallback: Arc<LocalLimiter>,
    /// For the answer of a limiter that is far away.
    limiter_patience: Duration,
    pub(super) queues: Queues,
    pub(super) retries: RetryBudget,
}

/// What one request asks of limits, on whichever endpoint.
pub(super) struct Asking<'a> {
    pub(super) limits: &'a Limits,
    pub(super) own: OwnLimits,
    pub(super) identity: &'a Identity,
    pub(super) cost: Cost,
}

impl Admitter {
    /// `limiter`: `None` counts in this process. `limiter_patience`: after that, limits are held in this process.
    pub fn new(
        limiter: Option<Arc<dyn Limiter>>,
        limiter_patience: Duration,
        retries: RetryBudget,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let fallback = Arc::new(LocalLimiter::new(Arc::clone(&clock)));
        Self(Arc::new(Shared {
            clock,
            limiter: limiter.unwrap_or_else(|| Arc::clone(&fallback) as _),
            fallback,
            limiter_patience,
            queues: Queues::default(),
            retries,
        }))
    }

    /// What this process counts by itself.
    pub fn local(&self) -> &Arc<LocalLimiter> {
        &self.0.fallback
    }

    /// Reserves everything that the request needs on the first endpoint with room. A shortage that will pass in time is
    /// waited for; dropped while it waits, the request leaves the queue.
    pub async fn enter(&self, mut ranked: Ranked, entry: Entry<'_>) -> Result<Admission, Refused> {
        let shared = &self.0;
        let identity = entry.principal.identity();
        let own = own_limits(entry.limits, identity);
        if own.blocked {
            return Err(Refused::now(Shortage::Blocked));
        }
        let learned = ranked
            .candidates()
            .first()
            .map(|first| Arc::clone(&first.learned));
        let asking = Asking {
            limits: entry.limits,
            own,
            identity,
            cost: learned.map_or_else(Cost::default, |learned| {
                cost(entry.limits, &learned, entry.demand)
            }),
        };
        let pool = Arc::clone(ranked.model());
        let mut refused = Refused::full(SHORTLY);
        if !shared.queues.is_waited_for(&pool) {
            match shared.lease(&ranked, &asking, |_| true).await {
                Ok(leased) => return Ok(self.admission(ranked, entry, &asking, leased)),
                Err(this) => refused = this,
            }
        }
        let arrived = shared.clock.now();
        let leave_at = match entry.class {
            Class::Interactive => Some(arrived + entry.limits.queue_timeout),
            Class::Batch => None,
        };
        let seat = shared.seat(&ranked, entry, &asking, &refused)?;
        loop {
            if let Some(tried) = seat.is_due() {
                match shared.lease(&ranked, &asking, |_| true).await {
                    Ok(leased) => {
                        let mut admission = self.admission(ranked, entry, &asking, leased);
                        let now = shared.clock.now();
                        admission.waited = Some(now.saturating_duration_since(arrived));
                        return Ok(admission);
                    }
                    Err(this) if this.is_own() => {
                        seat.pass(tried);
                        refused = this;
                    }
                    Err(this) => {
                        seat.sit_down(tried);
                        refused = this;
                    }
                }
            }
            let now = shared.clock.now();
            let left = leave_at.map_or(SHORTLY, |leave_at| leave_at.saturating_duration_since(now));
            if left.is_zero() || !refused.passes() {
                return Err(shared.told(refused, &seat, now));
            }
            let wait = refused
                .retry_after
                .clamp(Duration::from_millis(1), SHORTLY)
                .min(left);
            let _ = tokio::time::timeout(wait, seat.turn()).await;
            if let Err(fault) = ranked.rank_again(shared.clock.unix_micros()) {
                return Err(Refused::now(Shortage::NotServing(fault)));
            }
        }
    }

    fn admission(
        &self,
        ranked: Ranked,
        entry: Entry<'_>,
        asking: &Asking<'_>,
        leased: Leased,
    ) -> Admission {
        let shared = &self.0;
        let party = party(entry, &asking.own);
        let service = likely_service(entry.demand, asking.cost);
        let now = shared.clock.now();
        let served = shared.queues.served(ranked.model(), &party, service, now);
        Admission::new(Arc::clone(shared), ranked, entry, asking, leased, served)
    }

    pub fn retry_percent(&self, percent: u32) {
        self.0.retries.set_percent(percent);
    }

    /// How many requests wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.queues.waiting()
    }

    /// How many requests of one user wait.
    pub fn waiting_of(&self, user: &str) -> usize {
        self.0.queues.waiting_of(user)
    }

    /// How a caller's limits stand on each of these endpoints, as far as this process knows. Those that hold on all of them
    /// stand first, without an endpoint.
    pub fn standing<'a>(
        &self,
        identity: &Identity,
        limits: &Limits,
        deployments: &'a [Arc<Deployment>],
    ) -> Vec<(Option<&'a Arc<Deployment>>, Standing)> {
        let own = own_limits(limits, identity);
        let is_everywhere = |scope| {
            matches!(
                scope,
                Scope::User | Scope::Key | Scope::Group | Scope::Project
            )
        };
        let everywhere = deployments.first().map(|any| {
            let claims = claims(limits, &own, identity, any, is_everywhere);
            (None, self.0.limiter.standing(&claims))
        });
        let each = deployments.iter().map(|one| {
            let claims = claims(limits, &own, identity, one, |scope| !is_everywhere(scope));
            (Some(one), self.0.limiter.standing(&claims))
        });
        everywhere.into_iter().chain(each).collect()
    }

    /// A request that may be retried begins.
    pub fn begin(&self) {
        self.0.retries.earn();
    }

    /// Tells others what is still to be told.
    pub async fn shutdown(&self) {
        self.0.limiter.shutdown().await;
    }
}

/// Who waits, and with which share.
fn party(entry: Entry<'_>, own: &OwnLimits) -> Party {
    let identity = entry.principal.identity();
    let share = |own: Option<&OwnLimits>| own.and_then(|own| own.fair_share).unwrap_or(1);
    let user = own.fair_share.unwrap_or(1);
    let alone = identity.project.is_empty();
    Party {
        class: entry.class,
        project: match alone {
            true => format!("\0{}", identity.user_id).into(),
            false => Arc::clone(&identity.project),
        },
        project_share: match alone {
            true => user,
            false => share(entry.limits.others.project.get(&*identity.project)),
        },
        user: Arc::clone(&identity.user_id),
        user_share: user,
    }
}

impl Shared {
    /// A place in line, if it is worth while.
    fn seat(
        &self,
        ranked: &Ranked,
        entry: Entry<'_>,
        asking: &Asking<'_>,
        refused: &Refused,
    ) -> Result<Seat<'_>, Refused> {
        let patience = match entry.class {
            Class::Interactive => entry.limits.queue_timeout,
            Class::Batch => FAR_OFF,
        };
        if patience.is_zero() || !refused.passes_within(patience) {
            return Err(refused.clone());
        }
        let endpoints = ranked.candidates().iter().map(|one| Arc::clone(&one.slug));
        let party = party(entry, &asking.own);
        let seat = self.queues.join(ranked.model(), party, endpoints.collect());
        let seat = seat.ok_or_else(|| Refused::full(SHORTLY))?;
        let now = self.clock.now();
        match seat.forecast(now) {
            Some(forecast) if forecast > patience => Err(self.told(refused.clone(), &seat, now)),
            _ => Ok(seat),
        }
    }

    /// What one is told who leaves the queue without having been served: when its turn would have come.
    fn told(&self, refused: Refused, seat: &Seat<'_>, now: Instant) -> Refused {
        let forecast = seat.forecast(now).unwrap_or_default();
        Refused {
            retry_after: refused.retry_after.max(forecast),
            ..refused
        }
    }

    /// Takes a place and everything `is_wanted` on the first endpoint that has both.
    pub(super) async fn lease(
        &self,
        ranked: &Ranked,
        asking: &Asking<'_>,
        is_wanted: fn(Scope) -> bool,
    ) -> Result<Leased, Refused> {
        let mut refused: Option<Refused> = None;
        for (at, deployment) in ranked.candidates().iter().enumerate() {
            let place = deployment.state.take_place(deployment.max_in_flight);
            let claims = claims(
                asking.limits,
                &asking.own,
                asking.identity,
                deployment,
                is_wanted,
            );
            let cost = asking.cost;
            let this = match place {
                None => Refused::full(SHORTLY),
                Some(place) => match self.reserve(Ask { claims, cost }).await {
                    Ok(grant) => return Ok(Leased { at, place, grant }),
                    Err(this) => this,
                },
            };
            refused = Some(match refused {
                Some(before) => before.milder(this),
                None => this,
            });
        }
        Err(refused.unwrap_or_else(|| Refused::full(SHORTLY)))
    }

    async fn reserve(&self, ask: Ask) -> Result<Grant, Refused> {
        let answer = match Arc::clone(&self.limiter).reserve(&ask) {
            Reserving::Now(answer) => Some(answer),
            Reserving::Later(answer) => tokio::time::timeout(self.limiter_patience, answer)
                .await
                .ok(),
        };
        let answer = match answer {
            Some(answer) => answer,
            None => match Arc::clone(&self.fallback).reserve(&ask) {
                Reserving::Now(answer) => answer,
                Reserving::Later(answer) => answer.await,
            },
        };
        answer.map_err(Refused::from)
    }
}
