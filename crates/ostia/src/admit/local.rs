mod handover;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use ostia_core::{
    Ask, Claim, Clock, Cost, Denial, Grant, Hold, Level, Limiter, Measure, Reserving, Return,
    Scope, Standing, Subject, Taken,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::UnboundedSender;

pub use handover::{Change, Counters};

use super::window::Window;
use handover::Foreign;

const SHARDS: usize = 64;
/// How many counters of a shard are checked for removal on each access.
const SWEEP: usize = 2;
/// The wait that a caller is told if only the end of another request helps.
const SHORTLY: Duration = Duration::from_secs(1);

/// A sliding span, cut into ticks.
#[derive(Clone, Copy)]
struct Ticks {
    length: Duration,
    span: u64,
}

const SECOND: Ticks = Ticks {
    length: Duration::from_millis(50),
    span: 20,
};
const MINUTE: Ticks = Ticks {
    length: Duration::from_secs(1),
    span: 60,
};

/// Exact limits within one process.
///
/// Counters are kept in shards by the first name of their subject. All shards of one question are locked together, in
/// the order of their numbers; nothing waits while they are.
pub struct LocalLimiter {
    clock: Arc<dyn Clock>,
    start: Instant,
    /// How much earlier the process from which this one took over had begun.
    ahead_nanos: AtomicU64,
    /// The receiver of changes, once the counters were handed over.
    changes: OnceLock<UnboundedSender<Change>>,
    foreign: Mutex<Foreign>,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

type Name = (Scope, Measure, Subject);

#[derive(Default)]
struct Shard {
    counters: HashMap<Name, Counter, RandomState>,
    /// In the order they came, for the sweep.
    order: VecDeque<Name>,
}

struct Counter {
    count: Count,
    /// Tokens or requests of requests that still run: some of it may come back.
    running: u64,
}

enum Count {
    /// Of requests or tokens, in a span.
    Sliding(Window),
    /// Amounts that do not come back with time.
    Standing(u64),
}

/// The shards of one question, and which of them each claim is in.
struct Locked<'a> {
    guards: Vec<(usize, MutexGuard<'a, Shard>)>,
}

impl LocalLimiter {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            start: clock.now(),
            clock,
            ahead_nanos: AtomicU64::new(0),
            changes: OnceLock::new(),
            foreign: Mutex::default(),
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Requests in flight under any limit of requests in flight, all subjects together; for invariants.
    pub fn in_flight(&self) -> u64 {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            let counters = shard.counters.iter();
            counters
                .filter(|((_, measure, _), _)| *measure == Measure::InFlight)
                .map(|(_, counter)| counter.total())
                .sum::<u64>()
        };
        self.shards.iter().map(of).sum()
    }

    /// Since the first tick.
    fn now(&self) -> Duration {
        let own = self.clock.now().saturating_duration_since(self.start);
        own + Duration::from_nanos(self.ahead_nanos.load(Ordering::Relaxed))
    }

    /// How many counters there are.
    pub fn tracked(&self) -> usize {
        let of = |shard: &Mutex<Shard>| shard.lock().counters.len();
        self.shards.iter().map(of).sum()
    }

    /// The answer, which is always there at once.
    pub fn grant(self: Arc<Self>, ask: &Ask) -> Result<Grant, Denial> {
        self.decide(ask).map(|(taken, standing)| Grant {
            hold: Hold::new(self, taken),
            standing,
        })
    }

    fn decide(&self, ask: &Ask) -> Result<(Vec<Taken>, Standing), Denial> {
        let now = self.now();
        let mut locked = self.lock(ask.claims.iter().map(|claim| &claim.subject));
        for (_, shard) in &mut locked.guards {
            shard.sweep(now);
        }
        if let Some(denial) = self.denial(&mut locked, ask, now) {
            return Err(denial);
        }
        let mut taken = Vec::with_capacity(ask.claims.len());
        let mut levels = Vec::with_capacity(ask.claims.len());
        for claim in &ask.claims {
            let tick = ticks_of(claim.measure).at(now);
            let counter = locked.shard(self.place(&claim.subject)).counter(claim, now);
            let amount = match claim.measure {
                Measure::Requests | Measure::InFlight => 1,
                Measure::Tokens | Measure::Balance => ask.cost.total().min(counter.room(claim)),
            };
            counter.add(tick, amount);
            counter.running += amount;
            levels.push(counter.level(claim, now));
            let this = Taken {
                claim: claim.clone(),
                tick,
                amount,
            };
            self.tell(|| Change::Took(this.clone()));
            taken.push(this);
        }
        Ok((taken, Standing { levels }))
    }

    fn denial(&self, locked: &mut Locked<'_>, ask: &Ask, now: Duration) -> Option<Denial> {
        let denial = ask.claims.iter().find_map(|claim| {
            let counter = locked.shard(self.place(&claim.subject)).counter(claim, now);
            let is_full = counter.room(claim) < named(claim, ask.cost) || counter.debt() > 0;
            is_full.then(|| counter.denial(claim, ask.cost, now))
        })?;
        let standing = self.levels(locked, &ask.claims, now);
        Some(Denial { standing, ..denial })
    }

    fn levels(&self, locked: &mut Locked<'_>, claims: &[Claim], now: Duration) -> Standing {
        let level = |claim: &Claim| {
            let shard = locked.shard(self.place(&claim.subject));
            shard.counter(claim, now).level(claim, now)
        };
        Standing {
            levels: claims.iter().map(level).collect(),
        }
    }

    fn place(&self, subject: &Subject) -> usize {
        let hash = self.hasher.hash_one(subject.first());
        usize::try_from(hash % SHARDS as u64).unwrap_or(0)
    }

    fn lock<'a>(&'a self, subjects: impl Iterator<Item = &'a Subject>) -> Locked<'a> {
        let mut places: Vec<usize> = subjects.map(|subject| self.place(subject)).collect();
        places.sort_unstable();
        places.dedup();
        let lock = |place: usize| (place, self.shards[place].lock());
        Locked {
            guards: places.into_iter().map(lock).collect(),
        }
    }
}

impl Limiter for LocalLimiter {
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving {
        Reserving::Now(self.grant(ask))
    }

    fn foresee(&self, ask: &Ask) -> Option<Denial> {
        let now = self.now();
        let mut locked = self.lock(ask.claims.iter().map(|claim| &claim.subject));
        self.denial(&mut locked, ask, now)
    }

    fn give_back(&self, back: Return) {
        let now = self.now();
        for taken in &back.taken {
            let mut shard = self.shards[self.place(&taken.claim.subject)].lock();
            self.tell(|| Change::Ended {
                taken: taken.clone(),
                used_tokens: back.used_tokens,
                sent: back.sent,
            });
            let counter = shard.counter(&taken.claim, now);
            let used = match taken.claim.measure {
                Measure::Requests => u64::from(back.sent),
                Measure::InFlight => 0,
                Measure::Tokens | Measure::Balance => back.used_tokens,
            };
            counter.running = counter.running.saturating_sub(taken.amount);
            if used < taken.amount {
                counter.take_back(taken.tick, taken.amount - used);
            } else {
                let tick = ticks_of(taken.claim.measure).at(now);
                counter.charge(tick, used - taken.amount, taken.claim.most);
            }
        }
    }

    fn standing(&self, claims: &[Claim]) -> Standing {
        let now = self.now();
        let mut locked = self.lock(claims.iter().map(|claim| &claim.subject));
        self.levels(&mut locked, claims, now)
    }
}

impl Locked<'_> {
    fn shard(&mut self, place: usize) -> &mut Shard {
        let at = self.guards.partition_point(|(other, _)| *other < place);
        &mut self.guards[at].1
    }
}

impl Shard {
    /// The claim's counter as it is now.
    fn counter(&mut self, claim: &Claim, now: Duration) -> &mut Counter {
        let name = (claim.scope, claim.measure, claim.subject.clone());
        let counter = match self.counters.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.order.push_back(new.key().clone());
                new.insert(Counter::new(claim.measure))
            }
        };
        counter.expire(ticks_of(claim.measure), now);
        counter
    }

    /// Looks at a few counters and drops those that hold nothing any more.
    fn sweep(&mut self, now: Duration) {
        for _ in 0..SWEEP {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            let idle = self.counters.get_mut(&oldest).is_none_or(|counter| {
                counter.expire(ticks_of(oldest.1), now);
                counter.is_idle()
            });
            if idle {
                self.counters.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
    }
}

impl Counter {
    fn new(measure: Measure) -> Self {
        Self {
            count: match measure {
                Measure::Requests | Measure::Tokens => Count::Sliding(Window::default()),
                Measure::InFlight | Measure::Balance => Count::Standing(0),
            },
            running: 0,
        }
    }

    fn expire(&mut self, ticks: Ticks, now: Duration) {
        if let Count::Sliding(window) = &mut self.count {
            window.expire(ticks.at(now), ticks.span);
        }
    }

    fn total(&self) -> u64 {
        match &self.count {
            Count::Sliding(window) => window.total(),
            Count::Standing(total) => *total,
        }
    }

    fn debt(&self) -> u64 {
        match &self.count {
            Count::Sliding(window) => window.debt(),
            Count::Standing(_) => 0,
        }
    }

    fn room(&self, claim: &Claim) -> u64 {
        claim.most.saturating_sub(self.total())
    }

    /// It holds nothing.
    fn is_idle(&self) -> bool {
        let is_empty = match &self.count {
            Count::Sliding(window) => window.is_empty(),
            Count::Standing(total) => *total == 0,
        };
        is_empty && self.running == 0
    }

    fn add(&mut self, tick: u64, amount: u64) {
        match &mut self.count {
            Count::Sliding(window) => window.add(tick, amount),
            Count::Standing(total) => *total = total.saturating_add(amount),
        }
    }

    /// Counts what was not reserved.
    fn charge(&mut self, tick: u64, amount: u64, most: u64) {
        match &mut self.count {
            Count::Sliding(window) => window.charge(tick, amount, most),
            Count::Standing(total) => *total = total.saturating_add(amount),
        }
    }

    fn take_back(&mut self, tick: u64, amount: u64) {
        match &mut self.count {
            Count::Sliding(window) => window.take_back(tick, amount),
            Count::Standing(total) => *total = total.saturating_sub(amount),
        }
    }

    fn level(&self, claim: &Claim, now: Duration) -> Level {
        let ticks = ticks_of(claim.measure);
        Level {
            scope: claim.scope,
            measure: claim.measure,
            limit: claim.most,
            used: self.total(),
            owed: self.debt(),
            reset: match &self.count {
                Count::Sliding(window) => {
                    ticks.wait(window.wait_for_empty(ticks.at(now), ticks.span), now)
                }
                Count::Standing(_) => Duration::ZERO,
            },
        }
    }

    fn denial(&self, claim: &Claim, cost: Cost, now: Duration) -> Denial {
        let ticks = ticks_of(claim.measure);
        let amount = named(claim, cost);
        let stays = self.total().saturating_sub(self.running);
        Denial {
            scope: claim.scope,
            measure: claim.measure,
            retry_after: match &self.count {
                Count::Sliding(window) => {
                    let wait = window.wait_for(amount, claim.most, ticks.at(now), ticks.span);
                    ticks.wait(wait, now)
                }
                Count::Standing(_) => SHORTLY,
            },
            may_return: claim.measure != Measure::Requests
                && self.running > self.debt()
                && stays.saturating_add(amount) <= claim.most,
            standing: Standing::default(),
        }
    }
}

/// What a request must find free under a limit: no more than all of it.
fn named(claim: &Claim, cost: Cost) -> u64 {
    match claim.measure {
        Measure::Requests | Measure::InFlight => 1,
        Measure::Tokens => cost.named.min(claim.most),
        Measure::Balance => cost.named,
    }
}

impl Ticks {
    fn at(self, now: Duration) -> u64 {
        u64::try_from(now.as_nanos() / self.length.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits are counted from the start of the present tick, so its elapsed part is subtracted.
    fn wait(self, count: u64, now: Duration) -> Duration {
        let gone = now.as_nanos() % self.length.as_nanos();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let whole = self.length.saturating_mul(count);
        whole.saturating_sub(Duration::from_nanos(u64::try_from(gone).unwrap_or(0)))
    }
}

/// The span in which a measure counts; meaningless if nothing comes back with time.
const fn ticks_of(measure: Measure) -> Ticks {
    match measure {
        Measure::Requests => SECOND,
        Measure::Tokens | Measure::InFlight | Measure::Balance => MINUTE,
    }
}

#[cfg(test)]
mod tests;
