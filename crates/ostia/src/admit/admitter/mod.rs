mod door;
mod lease;
mod line;
mod views;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ostia_core::{Blocked, Class, Clock, Limiter};

pub(super) use self::lease::Asking;
use self::line::Wanted;
pub(super) use self::line::{Line, WhenAway};
use super::admission::{Admission, Leased};
use super::blocks::Blocks;
use super::cost::likely_service;
use super::fair::Party;
use super::promises::Promises;
use super::queue::Queues;
use super::{LocalLimiter, Refused, RetryBudget, SharedLimiter, Shortage};
use crate::identify::Principal;
use crate::rank::Ranked;
use crate::read::Demand;
use crate::settings::{Limits, OwnLimits};

/// The wait that a caller is told if only the end of another request helps, and the time after which a waiter checks by
/// itself: room that comes back elsewhere wakes nobody here.
const SHORTLY: Duration = Duration::from_secs(1);

/// Forecasts beyond this are as good as never.
const FAR_OFF: Duration = Duration::from_secs(3600);

/// Admits requests, moves them on after a failure, and releases them. It owns the limiter and the queues.
#[derive(Clone)]
pub struct Admitter(Arc<Shared>);

/// A request that wants to be let in.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub principal: &'a Principal,
    pub limits: &'a Limits,
    /// What [`super::own_limits`] finds for this caller.
    pub own: &'a OwnLimits,
    pub demand: &'a Demand,
    pub class: Class,
}

pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    limiter: Arc<dyn Limiter>,
    /// Enforces the limits while the other limiter does not answer.
    fallback: Arc<dyn Limiter>,
    /// This process's own counts, for a process that takes over.
    local: Arc<LocalLimiter>,
    /// How long to wait for a remote limiter.
    limiter_patience: Duration,
    /// The limiter, where it is one for several replicas.
    shared: Option<Arc<SharedLimiter>>,
    /// Places are counted by the limiter, which also decides between replicas whose turn it is.
    spans_replicas: bool,
    promises: Promises,
    blocks: Blocks,
    /// Counts by address, in this process.
    doors: Arc<LocalLimiter>,
    pub(super) queues: Queues,
    pub(super) retries: RetryBudget,
    /// The longest wait, in milliseconds, since the last reading.
    longest_wait: AtomicU64,
}

impl Admitter {
    /// `limiter`: `None` counts in this process. `limiter_patience`: after that time, this process enforces the limits.
    pub fn new(
        limiter: Option<Arc<dyn Limiter>>,
        limiter_patience: Duration,
        retries: RetryBudget,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let doors = Arc::new(LocalLimiter::new(Arc::clone(&clock)));
        let local = Arc::new(LocalLimiter::new(Arc::clone(&clock)));
        let fallback: Arc<dyn Limiter> = Arc::clone(&local) as _;
        Self(Arc::new(Shared {
            clock,
            limiter: limiter.unwrap_or_else(|| Arc::clone(&fallback)),
            fallback,
            local,
            limiter_patience,
            shared: None,
            spans_replicas: false,
            promises: Promises::default(),
            blocks: Blocks::default(),
            doors,
            queues: Queues::new(false),
            retries,
            longest_wait: AtomicU64::new(0),
        }))
    }

    /// Limits hold over all replicas that share them.
    pub fn sharing(
        limiter: Arc<SharedLimiter>,
        retries: RetryBudget,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let doors = Arc::new(LocalLimiter::new(Arc::clone(&clock)));
        Self(Arc::new(Shared {
            clock,
            fallback: limiter.stand_in(),
            // The limits themselves are kept elsewhere.
            local: Arc::clone(&doors),
            limiter_patience: limiter.patience(),
            limiter: Arc::clone(&limiter) as _,
            shared: Some(limiter),
            spans_replicas: true,
            promises: Promises::default(),
            blocks: Blocks::default(),
            doors,
            queues: Queues::new(true),
            retries,
            longest_wait: AtomicU64::new(0),
        }))
    }

    /// Reserves everything that the request needs on the first endpoint with room, now or when its turn has come.
    pub async fn enter(&self, ranked: Ranked, entry: Entry<'_>) -> Result<Box<Admission>, Refused> {
        let identity = entry.principal.identity();
        let own = *entry.own;
        if own.blocked {
            return Err(Refused::now(Shortage::Blocked(Blocked::User)));
        }
        let now = self.0.clock.unix_micros();
        if let Some(what) = self.0.blocks.of(identity, ranked.model(), now) {
            return Err(Refused::now(Shortage::Blocked(what)));
        }
        let shared = &self.0;
        let pool = Arc::clone(ranked.model());
        let party = party(entry);
        let asking = Asking {
            limits: entry.limits,
            own,
            identity,
            demand: entry.demand,
            party: Some((&pool, &party)),
            waits: false,
        };
        let first = ranked.candidates().first().cloned();
        let entered = self.wait_for_room(ranked, entry, &asking, &party).await;
        entered.map_err(|refused| {
            let now = shared.clock.now();
            let tokens = first.map_or(0, |first| asking.cost(&first).total());
            let who = &identity.user_id;
            shared.promises.stagger(refused, who, tokens, &pool, now)
        })
    }

    async fn wait_for_room(
        &self,
        mut ranked: Ranked,
        entry: Entry<'_>,
        asking: &Asking<'_>,
        party: &Party,
    ) -> Result<Box<Admission>, Refused> {
        let shared = &self.0;
        let arrived = shared.clock.now();
        let own = asking.own.queue_timeout;
        let patience = own.unwrap_or(entry.limits.queue_timeout);
        let mut line = Line {
            party: party.clone(),
            leave_at: match entry.class {
                Class::Interactive => {
                    let start = ranked.starting().map(|starting| starting.patience);
                    Some(arrived + start.unwrap_or_default().max(patience))
                }
                Class::Batch => None,
            },
            waited: None,
        };
        let mut refused = Refused::full(SHORTLY);
        if !shared.queues.is_waited_for(ranked.model()) {
            let away = WhenAway::Send(line.left(arrived));
            match shared.lease(&ranked, asking, |_| true, away).await {
                Ok(leased) => return Ok(self.admission(ranked, entry, asking, leased, line)),
                Err(this) => refused = this,
            }
        } else if let Some(own) = shared.foresee(&ranked, asking) {
            refused = own;
        }
        let wanted = Wanted {
            asking,
            scopes: |_| true,
            away: WhenAway::Send,
        };
        let (leased, seat) = shared.in_turn(&mut ranked, wanted, &line, refused).await?;
        line.waited = Some(shared.clock.now().saturating_duration_since(arrived));
        let admission = self.admission(ranked, entry, asking, leased, line);
        // Not before its service is counted: a line without anybody is as good as new.
        drop(seat);
        Ok(admission)
    }

    fn admission(
        &self,
        ranked: Ranked,
        entry: Entry<'_>,
        asking: &Asking<'_>,
        leased: Leased,
        line: Line,
    ) -> Box<Admission> {
        let shared = &self.0;
        let service = likely_service(entry.demand, leased.cost);
        let now = shared.clock.now();
        let served =
            shared
                .queues
                .served(ranked.model(), &line.party, service, leased.is_charged, now);
        Box::new(Admission::new(
            Arc::clone(shared),
            ranked,
            entry,
            asking,
            leased,
            line,
            served,
        ))
    }

    pub fn retry_percent(&self, percent: u32) {
        self.0.retries.set_percent(percent);
    }

    /// The background work if limits are shared; else nothing.
    pub async fn work(&self) -> Infallible {
        match &self.0.shared {
            Some(shared) => shared.work(&self.0.queues).await,
            None => std::future::pending().await,
        }
    }

    /// A request that may be retried begins.
    pub fn begin(&self) {
        self.0.retries.earn();
    }

    /// Sends what is still to be sent to others.
    pub async fn shutdown(&self) {
        self.0.limiter.shutdown().await;
    }
}

impl Shared {
    pub(super) fn unix_micros(&self) -> i64 {
        self.clock.unix_micros()
    }
}

#[cfg(test)]
impl Admitter {
    /// As [`Admitter::sharing`] makes one, with any limiter.
    pub(super) fn over_replicas(limiter: Arc<dyn Limiter>, clock: Arc<dyn Clock>) -> Self {
        let retries = RetryBudget::new(0, Arc::clone(&clock));
        let Self(local) = Self::new(Some(limiter), FAR_OFF, retries, clock);
        let shared = Arc::into_inner(local).expect("nobody else has it");
        Self(Arc::new(Shared {
            spans_replicas: true,
            queues: Queues::new(true),
            ..shared
        }))
    }

    pub(super) fn queues(&self) -> &Queues {
        &self.0.queues
    }
}

/// Who waits, and with which share.
fn party(entry: Entry<'_>) -> Party {
    let identity = entry.principal.identity();
    let written = entry.limits.others.project.get(&*identity.project);
    let written = written.and_then(|own| own.fair_share);
    let user = entry.own.fair_share.unwrap_or(1);
    let alone = identity.project.is_empty();
    Party {
        class: entry.class,
        project: match alone {
            true => Party::project_of_one(&identity.user_id),
            false => Arc::clone(&identity.project),
        },
        project_share: match alone {
            true => user,
            false => written.or(identity.project_share).unwrap_or(1),
        },
        user: Arc::clone(&identity.user_id),
        user_share: user,
    }
}
