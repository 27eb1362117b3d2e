//! Waits in line.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ostia_core::{Scope, millis};

use super::super::admission::Leased;
use super::super::fair::Party;
use super::super::queue::Seat;
use super::super::{Refused, Shortage};
use super::lease::{Asking, earliest};
use super::{FAR_OFF, SHORTLY, Shared};
use crate::rank::Ranked;

/// How often the first in line check by themselves where limits are shared: of what comes back on another replica only
/// places wake somebody here.
const LOOK: Duration = Duration::from_millis(50);

/// A request's place among those that wait.
pub(in super::super) struct Line {
    pub(super) party: Party,
    /// `None`: it has no deadline.
    pub(super) leave_at: Option<Instant>,
    /// How long it waited, if it had to.
    pub(in super::super) waited: Option<Duration>,
}

/// What a request does while all its endpoints are away.
#[derive(Clone, Copy)]
pub(in super::super) enum WhenAway {
    /// It waits if one of them is back within this time; else it is sent to one anyway, which then refuses it.
    Send(Duration),
    /// It waits likewise, or gives up.
    GiveUp(Duration),
    /// Only available endpoints count.
    Skip,
}

/// What a request is waiting for.
#[derive(Clone, Copy)]
pub(in super::super) struct Wanted<'a> {
    pub(in super::super) asking: &'a Asking<'a>,
    pub(in super::super) scopes: fn(Scope) -> bool,
    pub(in super::super) away: fn(Duration) -> WhenAway,
}

impl Line {
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.leave_at
            .map_or(FAR_OFF, |leave_at| leave_at.saturating_duration_since(now))
    }
}

impl Shared {
    /// Waits in line for a place and room under all limits, if the shortage will pass in time. If dropped meanwhile,
    /// the request leaves the queue; so it does when its seat is dropped. `refused`: why it was not admitted at once.
    pub(super) async fn in_turn(
        &self,
        ranked: &mut Ranked,
        wanted: Wanted<'_>,
        line: &Line,
        mut refused: Refused,
    ) -> Result<(Leased, Seat<'_>), Refused> {
        let seat = self.seat(ranked, line, &refused)?;
        let asking = Asking {
            waits: true,
            ..*wanted.asking
        };
        let began = self.clock.now();
        let waited = |now: Instant| now.saturating_duration_since(began);
        // When `refused` was said.
        let mut tried_at = began;
        loop {
            self.longest_wait
                .fetch_max(millis(waited(self.clock.now())), Ordering::Relaxed);
            let mut look = SHORTLY;
            if let Some(tried) = seat.is_due() {
                look = self.look();
                let away = (wanted.away)(line.left(self.clock.now()));
                let leased = self.lease(ranked, &asking, wanted.scopes, away);
                refused = match leased.await {
                    Ok(leased) => return Ok((leased, seat)),
                    Err(this) => this,
                };
                tried_at = self.clock.now();
                seat.lacks(&refused.shortage);
                match refused.is_own() {
                    true => seat.pass(tried),
                    false => seat.sit_down(tried),
                }
            }
            let now = self.clock.now();
            let left = line.left(now);
            let still = refused.later(now.saturating_duration_since(tried_at));
            let is_hopeless = line.leave_at.is_some() && !still.passes_within(left);
            if left.is_zero() || is_hopeless || !still.passes() || seat.is_evicted() {
                // Whoever never had its turn does not know what it was waiting for.
                let refused = match ranked.starting() {
                    Some(starting) => Refused::not_yet(starting.fault.clone(), SHORTLY),
                    None => still,
                };
                return Err(self.told(refused, &seat, now).after(waited(now)));
            }
            let wait = match still.retry_after {
                // What it lacked is due, but others are ahead of it: it is called.
                Duration::ZERO => look,
                wait => wait.clamp(Duration::from_millis(1), look),
            };
            let _ = tokio::time::timeout(wait.min(left), seat.turn()).await;
            if let Err(fault) = ranked.rank_again(self.clock.unix_micros()) {
                let waited = waited(self.clock.now());
                return Err(Refused::now(Shortage::NotServing(fault)).after(waited));
            }
        }
    }

    /// Waits until one of the endpoints that refused is back, and leases it or another one. `None`: none says that it
    /// is back in time.
    pub(in super::super) async fn after_a_rest(
        &self,
        ranked: &mut Ranked,
        asking: &Asking<'_>,
        line: &mut Line,
    ) -> Option<Leased> {
        ranked.rank_all(self.clock.unix_micros()).ok()?;
        let began = self.clock.now();
        let wait = earliest(ranked.candidates())?;
        if wait > line.left(began) || !self.retries.take() {
            return None;
        }
        let wanted = Wanted {
            asking,
            scopes: Scope::is_of_endpoint,
            away: WhenAway::GiveUp,
        };
        let leased = self
            .in_turn(ranked, wanted, line, Refused::full(wait))
            .await;
        let waited = self.clock.now().saturating_duration_since(began);
        line.waited = Some(line.waited.unwrap_or_default() + waited);
        leased.ok().map(|(leased, _)| leased)
    }

    /// A place in line, if waiting is worthwhile.
    fn seat(&self, ranked: &Ranked, line: &Line, refused: &Refused) -> Result<Seat<'_>, Refused> {
        let now = self.clock.now();
        let patience = line.left(now);
        if patience.is_zero() || !refused.passes_within(patience) {
            return Err(refused.clone());
        }
        let endpoints = ranked.candidates().iter().map(|one| Arc::clone(&one.slug));
        let seat = self
            .queues
            .join(ranked.model(), line.party.clone(), endpoints.collect(), now);
        let seat = seat.ok_or_else(|| Refused::full(SHORTLY))?;
        match seat.forecast(now) {
            Some(forecast) if forecast > patience => Err(self.told(refused.clone(), &seat, now)),
            _ => Ok(seat),
        }
    }

    /// The refusal for a request that leaves the queue without being served: when its turn would have come.
    fn told(&self, refused: Refused, seat: &Seat<'_>, now: Instant) -> Refused {
        let forecast = seat.forecast(now).unwrap_or_default();
        Refused {
            retry_after: refused.retry_after.max(forecast),
            ..refused
        }
    }

    /// How soon the first waiter in line checks by itself.
    fn look(&self) -> Duration {
        match self.spans_replicas {
            true => LOOK,
            false => SHORTLY,
        }
    }
}
