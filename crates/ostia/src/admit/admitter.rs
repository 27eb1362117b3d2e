use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Ask, Clock, Cost, Grant, Identity, Limiter, Reserving, Scope};

use super::admission::{Admission, Leased};
use super::limits::claims;
use super::queue::{Queues, Seat};
use super::{LocalLimiter, Refused, RetryBudget, Shortage};
use crate::identify::Principal;
use crate::rank::Ranked;
use crate::settings::Limits;

/// How long a caller is told to wait if only the end of another request can help.
const SHORTLY: Duration = Duration::from_secs(1);

/// How long a request waits before it is let in.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a shortage that will pass; zero refuses at once.
    pub queue: Duration,
    /// For the response of a remote limiter. After that, this process applies the limits by itself.
    pub limiter: Duration,
}

/// Admits requests, moves them on after a failure, and lets them out. It owns the limiter and the queues.
#[derive(Clone)]
pub struct Admitter(Arc<Shared>);

pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    limiter: Arc<dyn Limiter>,
    /// Applies the limits while the remote limiter does not respond.
    fallback: Arc<dyn Limiter>,
    queues: Queues,
    retries: RetryBudget,
    patience: Patience,
}

impl Default for Patience {
    /// Nobody waits for a place, and a limiter has 50 ms.
    fn default() -> Self {
        Self {
            queue: Duration::ZERO,
            limiter: Duration::from_millis(50),
        }
    }
}

impl Admitter {
    /// `limiter`: `None` counts in this process.
    pub fn new(
        limiter: Option<Arc<dyn Limiter>>,
        retries: RetryBudget,
        patience: Patience,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let fallback: Arc<dyn Limiter> = Arc::new(LocalLimiter::new(Arc::clone(&clock)));
        Self(Arc::new(Shared {
            clock,
            limiter: limiter.unwrap_or_else(|| Arc::clone(&fallback)),
            fallback,
            queues: Queues::default(),
            retries,
            patience,
        }))
    }

    /// Reserves everything that the request needs, on the first endpoint with room. If there is a shortage that will
    /// pass in time, it waits. Dropping the future while it waits leaves the queue.
    pub async fn enter(
        &self,
        mut ranked: Ranked,
        principal: &Principal,
        limits: &Limits,
        cost: Cost,
    ) -> Result<Admission, Refused> {
        let shared = &self.0;
        let identity = principal.identity();
        let deadline = shared.clock.now() + shared.patience.queue;
        let mut seat: Option<Seat<'_>> = None;
        if shared.queues.is_waited_for(ranked.model()) {
            seat = Some(shared.queues.join(ranked.model(), &identity.user_id));
        }
        loop {
            let is_due = seat.as_ref().is_none_or(Seat::is_due);
            let refused = match shared
                .lease_if(is_due, &ranked, identity, limits, cost)
                .await
            {
                Ok(leased) => {
                    if let Some(seat) = &seat {
                        seat.served(cost.total());
                    }
                    let (shared, identity) = (Arc::clone(shared), Arc::clone(identity));
                    return Ok(Admission::new(shared, identity, ranked, cost, leased));
                }
                Err(refused) => refused,
            };
            let left = deadline.saturating_duration_since(shared.clock.now());
            if left.is_zero() || !refused.passes() {
                return Err(refused);
            }
            let seat =
                seat.get_or_insert_with(|| shared.queues.join(ranked.model(), &identity.user_id));
            if refused.is_own() {
                seat.pass();
            } else {
                seat.sit_down();
            }
            // Whatever time or another replica frees wakes nobody here, so do not wait for the call alone.
            let wait = refused
                .retry_after
                .clamp(Duration::from_millis(1), SHORTLY)
                .min(left);
            let _ = tokio::time::timeout(wait, seat.turn()).await;
            let now = shared.clock.unix_micros();
            if let Err(fault) = ranked.rank_again(now) {
                return Err(Refused {
                    shortage: Shortage::NotServing(fault),
                    ..refused
                });
            }
        }
    }

    pub fn retry_percent(&self, percent: u32) {
        self.0.retries.set_percent(percent);
    }

    /// How many requests are waiting for a place.
    pub fn waiting(&self) -> usize {
        self.0.queues.waiting()
    }

    /// Counts the start of a request that may be retried, which earns a share of a retry.
    pub fn begin(&self) {
        self.0.retries.earn();
    }

    /// Tells other replicas what they have not been told yet.
    pub async fn shutdown(&self) {
        self.0.limiter.shutdown().await;
    }
}

impl Shared {
    pub(super) fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    /// Wakes waiters: a place of this model and a part of this user's limits are free again.
    pub(super) fn freed(&self, model: &str, user: &str) {
        self.queues.freed(model, user);
    }

    async fn lease_if(
        &self,
        is_due: bool,
        ranked: &Ranked,
        identity: &Identity,
        limits: &Limits,
        cost: Cost,
    ) -> Result<Leased, Refused> {
        if !is_due {
            return Err(Refused::full(SHORTLY));
        }
        self.lease(ranked, identity, limits, cost, |_| true).await
    }

    /// Takes a place and every limit that `is_wanted`, on the first endpoint that has both.
    pub(super) async fn lease(
        &self,
        ranked: &Ranked,
        identity: &Identity,
        limits: &Limits,
        cost: Cost,
        is_wanted: fn(Scope) -> bool,
    ) -> Result<Leased, Refused> {
        let mut refused: Option<Refused> = None;
        for (at, deployment) in ranked.candidates().iter().enumerate() {
            let place = deployment.state.take_place(deployment.max_in_flight);
            let claims = claims(limits, identity, deployment, is_wanted);
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
            Reserving::Later(answer) => tokio::time::timeout(self.patience.limiter, answer)
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
