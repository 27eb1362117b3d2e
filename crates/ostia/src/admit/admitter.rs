use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::{
    Ask, Blocked, Claim, Class, Clock, Cost, Grant, Identity, Limiter, Measure, Reserving, Scope,
    Standing, Subject, Turn,
};

use super::admission::{Admission, Leased};
use super::blocks::Blocks;
use super::cost::{cost, likely_service};
use super::fair::Party;
use super::limits::{claims, own_limits, places};
use super::promises::Promises;
use super::queue::{Queues, Seat, Waits};
use super::{Heard, LocalLimiter, Refused, RetryBudget, SharedLimiter, Shortage};
use crate::catalog::Deployment;
use crate::identify::Principal;
use crate::rank::{NotServing, Ranked};
use crate::read::Demand;
use crate::settings::{Limits, OwnLimits};

/// The wait that a caller is told if only the end of another request helps, and the time after which a waiter checks by
/// itself: room that comes back elsewhere wakes nobody here.
const SHORTLY: Duration = Duration::from_secs(1);
/// How often the first in line check by themselves where limits are shared: of what comes back on another replica only
/// places wake somebody here.
const LOOK: Duration = Duration::from_millis(50);
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

/// The claims of one request on limits, for any endpoint.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) limits: &'a Limits,
    pub(super) own: OwnLimits,
    pub(super) identity: &'a Identity,
    pub(super) demand: &'a Demand,
    /// Its pool, and for whom it asks; `None`: it was let in before, and changes its endpoint.
    pub(super) party: Option<(&'a Arc<str>, &'a Party)>,
    /// It waits in line.
    pub(super) waits: bool,
}

/// A request's place among those that wait.
pub(super) struct Line {
    party: Party,
    /// `None`: it has no deadline.
    leave_at: Option<Instant>,
    /// How long it waited, if it had to.
    pub(super) waited: Option<Duration>,
}

/// What a request does while all its endpoints are away.
#[derive(Clone, Copy)]
pub(super) enum WhenAway {
    /// It waits if one of them is back within this time; else it is sent to one anyway, which then refuses it.
    Send(Duration),
    /// It waits likewise, or gives up.
    GiveUp(Duration),
    /// Only available endpoints count.
    Skip,
}

/// What a request is waiting for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) asking: &'a Asking<'a>,
    pub(super) scopes: fn(Scope) -> bool,
    pub(super) away: fn(Duration) -> WhenAway,
}

impl Line {
    fn left(&self, now: Instant) -> Duration {
        self.leave_at
            .map_or(FAR_OFF, |leave_at| leave_at.saturating_duration_since(now))
    }
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

    /// This process's own counts.
    pub fn local(&self) -> &Arc<LocalLimiter> {
        &self.0.local
    }

    /// Reserves everything that the request needs on the first endpoint with room, now or when its turn has come.
    pub async fn enter(&self, ranked: Ranked, entry: Entry<'_>) -> Result<Box<Admission>, Refused> {
        let identity = entry.principal.identity();
        let own = own_limits(entry.limits, identity);
        if own.blocked {
            return Err(Refused::now(Shortage::Blocked(Blocked::User)));
        }
        let now = self.0.clock.unix_micros();
        if let Some(what) = self.0.blocks.of(identity, ranked.model(), now) {
            return Err(Refused::now(Shortage::Blocked(what)));
        }
        let shared = &self.0;
        let pool = Arc::clone(ranked.model());
        let party = party(entry, &own);
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

    /// There is more room than before: the next in line tries.
    pub fn came_back(&self) {
        self.0.queues.came_back();
    }

    /// How many requests wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.queues.waiting()
    }

    /// The longest wait since the last call.
    pub fn take_longest_wait(&self) -> Duration {
        Duration::from_millis(self.0.longest_wait.swap(0, Ordering::Relaxed))
    }

    /// Who waits, for what, since when, and how long still.
    pub fn waits(&self) -> Vec<Waits> {
        self.0.queues.waits(self.0.clock.now())
    }

    /// Who is let in no longer.
    pub fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    /// How many requests of one user wait.
    pub fn waiting_of(&self, user: &str) -> usize {
        self.0.queues.waiting_of(user)
    }

    /// The state of a caller's limits on each of these endpoints, as far as this process knows. Limits common to all of
    /// them come first, without an endpoint.
    pub async fn standing<'a>(
        &self,
        identity: &Identity,
        limits: &Limits,
        deployments: &'a [Arc<Deployment>],
    ) -> Vec<(Option<&'a Arc<Deployment>>, Standing)> {
        let own = own_limits(limits, identity);
        let everywhere = deployments.first().map(|any| {
            let claims = claims(limits, &own, identity, any, Scope::is_of_all_models);
            (None, claims)
        });
        let each = deployments.iter().map(|one| {
            let claims = claims(limits, &own, identity, one, |scope| {
                !scope.is_of_all_models()
            });
            (Some(one), claims)
        });
        let mut standings = Vec::with_capacity(deployments.len() + 1);
        for (endpoint, claims) in everywhere.into_iter().chain(each) {
            standings.push((endpoint, self.0.standing(&claims).await));
        }
        standings
    }

    /// Admits a request for a route that is open to everybody, at the rate of one user.
    pub fn open(&self, address: IpAddr, limits: &Limits) -> Result<(), Refused> {
        let most = limits.requests_per_second_per_user.into();
        if most == 0 || address.is_loopback() {
            return Ok(());
        }
        let claim = Claim {
            scope: Scope::Address,
            measure: Measure::Requests,
            subject: Subject::One(network(address).into()),
            most,
        };
        let ask = Ask {
            claims: vec![claim],
            cost: Cost::default(),
            turn: None,
        };
        let mut grant = Arc::clone(&self.0.doors).grant(&ask)?;
        grant.hold.sent();
        Ok(())
    }

    /// The background work if limits are shared; else nothing.
    pub async fn work(&self) -> Infallible {
        match &self.0.shared {
            Some(shared) => shared.work(&self.0.queues).await,
            None => std::future::pending().await,
        }
    }

    /// Tells other replicas of bad credentials, if limits are shared, and returns theirs.
    pub async fn tell_guesses(&self, heard: &mut Heard, own: Vec<(u128, u32)>) -> Vec<(u128, u32)> {
        match &self.0.shared {
            Some(shared) => shared.tell_guesses(heard, own).await,
            None => Vec::new(),
        }
    }

    /// Whether limits are shared, but currently enforced by this process alone.
    pub fn is_degraded(&self) -> bool {
        self.0
            .shared
            .as_ref()
            .is_some_and(|shared| shared.is_degraded())
    }

    /// Replicas that share their limits, as they were seen last.
    pub fn replicas(&self) -> u64 {
        self.0.shared.as_ref().map_or(1, |shared| shared.replicas())
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

/// When the first endpoint that refused is back.
fn earliest(candidates: &[Arc<Deployment>]) -> Option<Duration> {
    let rests = candidates.iter().map(|one| one.state.is_back_in());
    rests.flatten().min()
}

/// Who waits, and with which share.
fn party(entry: Entry<'_>, own: &OwnLimits) -> Party {
    let identity = entry.principal.identity();
    let written = entry.limits.others.project.get(&*identity.project);
    let written = written.and_then(|own| own.fair_share);
    let user = own.fair_share.unwrap_or(1);
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

/// The network whose requests are counted together: an IPv4 address, or the /64 that one IPv6 host has.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

impl Asking<'_> {
    /// What is reserved there, by what is known now: while it waits, others end and say what such requests need.
    pub(super) fn cost(&self, deployment: &Deployment) -> Cost {
        cost(self.limits, &deployment.learned, self.demand)
    }

    fn claims(&self, deployment: &Deployment, is_wanted: impl Fn(Scope) -> bool) -> Vec<Claim> {
        claims(self.limits, &self.own, self.identity, deployment, is_wanted)
    }
}

impl Shared {
    pub(super) fn unix_micros(&self) -> i64 {
        self.clock.unix_micros()
    }

    /// Waits in line for a place and room under all limits, if the shortage will pass in time. If dropped meanwhile,
    /// the request leaves the queue; so it does when its seat is dropped. `refused`: why it was not admitted at once.
    async fn in_turn(
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
            self.note_wait(waited(self.clock.now()));
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

    fn note_wait(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.longest_wait.fetch_max(waited, Ordering::Relaxed);
    }

    /// Waits until one of the endpoints that refused is back, and leases it or another one. `None`: none says that it
    /// is back in time.
    pub(super) async fn after_a_rest(
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

    /// Takes a place and everything `is_wanted` on the first endpoint that has both. Endpoints that are away are
    /// skipped while another one is available.
    pub(super) async fn lease(
        &self,
        ranked: &Ranked,
        asking: &Asking<'_>,
        is_wanted: fn(Scope) -> bool,
        away: WhenAway,
    ) -> Result<Leased, Refused> {
        if let Some(starting) = ranked.starting() {
            return Err(Refused::not_yet(starting.fault.clone(), SHORTLY));
        }
        let candidates = ranked.candidates();
        let is_away = |one: &Deployment| one.state.returns_in().is_some();
        let sends = match (away, earliest(candidates)) {
            _ if !candidates.iter().all(|one| is_away(one)) => false,
            (WhenAway::Send(left) | WhenAway::GiveUp(left), Some(wait)) if wait <= left => {
                return Err(Refused::full(wait));
            }
            (WhenAway::Send(_), _) => true,
            (WhenAway::GiveUp(_) | WhenAway::Skip, _) => {
                return Err(Refused::now(Shortage::NotServing(NotServing::NoneReady)));
            }
        };
        let mut refused: Option<Refused> = None;
        let here = candidates.iter().enumerate();
        for (at, deployment) in here.filter(|(_, one)| sends || !is_away(one)) {
            let this = match self.lease_one(deployment, asking, is_wanted).await {
                Ok(leased) => return Ok(Leased { at, ..leased }),
                Err(this) => this,
            };
            refused = Some(match refused {
                Some(before) => before.milder(this),
                None => this,
            });
        }
        Err(refused.unwrap_or_else(|| Refused::full(SHORTLY)))
    }

    async fn lease_one(
        &self,
        deployment: &Deployment,
        asking: &Asking<'_>,
        is_wanted: fn(Scope) -> bool,
    ) -> Result<Leased, Refused> {
        let shared_place = places(deployment).filter(|_| self.spans_replicas);
        let most = match shared_place {
            // The limiter counts, and has to know who waits here.
            Some(_) => u32::MAX,
            None => deployment.places(),
        };
        let place = deployment.state.take_place(most);
        let place = place.ok_or_else(|| Refused::full(SHORTLY))?;
        let mut claims = asking.claims(deployment, is_wanted);
        let cost = asking.cost(deployment);
        let turn = shared_place
            .as_ref()
            .and_then(|_| self.turn(deployment, asking, cost));
        let is_charged = turn.is_some();
        claims.extend(shared_place);
        let grant = self.reserve(Ask { claims, cost, turn }).await?;
        deployment.state.probe();
        Ok(Leased {
            at: 0,
            place,
            grant,
            cost,
            is_charged,
        })
    }

    /// Who asks, for the limiter that decides between replicas.
    fn turn(&self, deployment: &Deployment, asking: &Asking<'_>, cost: Cost) -> Option<Turn> {
        let (pool, party) = asking.party?;
        let service = likely_service(asking.demand, cost);
        let next = match asking.waits {
            true => self.queues.behind(pool, party, service, &deployment.slug),
            false => None,
        };
        let (is_new_project, is_new_user) = self.queues.is_new(pool, party);
        Some(Turn {
            pool: Arc::clone(pool),
            class: party.class,
            project: Arc::clone(&party.project),
            project_share: party.project_share,
            user: Arc::clone(&party.user),
            user_share: party.user_share,
            service,
            is_new_project,
            is_new_user,
            waits: asking.waits,
            next: next.map(|next| (next.class, next.project, next.user)),
        })
    }

    /// The limit of the caller's own that will still hold it back on every endpoint, while others wait.
    fn foresee(&self, ranked: &Ranked, asking: &Asking<'_>) -> Option<Refused> {
        let foreseen = ranked.candidates().iter().map(|deployment| {
            let claims = asking.claims(deployment, |scope| scope != Scope::Endpoint);
            let cost = asking.cost(deployment);
            let ask = Ask {
                claims,
                cost,
                turn: None,
            };
            self.limiter.foresee(&ask).map(Refused::from)
        });
        let foreseen: Option<Vec<Refused>> = foreseen.collect();
        foreseen?.into_iter().reduce(Refused::milder)
    }

    /// How soon the first waiter in line checks by itself.
    fn look(&self) -> Duration {
        match self.spans_replicas {
            true => LOOK,
            false => SHORTLY,
        }
    }

    async fn standing(&self, claims: &[Claim]) -> Standing {
        let looked = match &self.shared {
            Some(shared) => shared.look(claims).await,
            None => None,
        };
        looked.unwrap_or_else(|| self.limiter.standing(claims))
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
