mod line;
mod replicas;
mod seat;
#[cfg(test)]
mod tests;
mod views;
mod waiter;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use self::line::Queue;
use self::replicas::Account;
pub(super) use self::replicas::Spent;
pub(super) use self::seat::Seat;
pub use self::views::Waits;
pub(super) use self::waiter::Waiter;
use super::fair::Party;

/// Waiters of one pool at most: more would wait longer than anybody wants.
const MOST_WAITERS: usize = 4096;

/// The queues of all pools. A pool is all endpoints of a model; each waiter holds the part of them that it may use.
#[derive(Default)]
pub(super) struct Queues {
    /// Those in which somebody waits, or waited while requests began that still run.
    pools: Mutex<HashMap<Arc<str>, Arc<Queue>>>,
    waiting: AtomicUsize,
    /// Of `pools`, to be read without the lock.
    count: AtomicUsize,
    /// Service that was not yet sent to other replicas; `None`: there are none.
    spent: Option<Mutex<HashMap<Account, Spent>>>,
}

/// The service that a request was counted with while others waited. Settled or dropped, it is over.
pub(super) struct Served {
    pool: Arc<str>,
    party: Party,
    service: f64,
    /// Whether it runs in a line: others waited.
    is_in_line: bool,
    /// Whether the limiter over replicas counted it.
    is_charged: bool,
}

impl Queues {
    /// Whether somebody waits for this pool: new arrivals may not overtake them.
    pub(super) fn is_waited_for(&self, pool: &str) -> bool {
        self.waiting() != 0
            && self
                .known(pool)
                .is_some_and(|queue| queue.state.lock().lines.waiting() != 0)
    }

    fn known(&self, pool: &str) -> Option<Arc<Queue>> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.pools.lock().get(pool).cloned()
    }

    /// Takes a place in line; `None`: the queue is full.
    pub(super) fn join(
        &self,
        pool: &Arc<str>,
        party: Party,
        endpoints: Box<[Arc<str>]>,
        now: Instant,
    ) -> Option<Seat<'_>> {
        let mut pools = self.pools.lock();
        let queue = Arc::clone(pools.entry(Arc::clone(pool)).or_default());
        self.count.store(pools.len(), Ordering::Relaxed);
        let mut state = queue.state.lock();
        if state.lines.waiting() >= MOST_WAITERS && !state.make_room(&party) {
            return None;
        }
        state.arrivals += 1;
        let waiter = Arc::new(Waiter::new(party, endpoints, state.arrivals, now));
        state.lines.join(&waiter);
        drop(state);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            queues: self,
            pool: Arc::clone(pool),
            queue,
            waiter,
        })
    }

    /// Whether a party's requests are the first here, of its project and of the user, since it was last asked.
    pub(super) fn is_new(&self, pool: &str, party: &Party) -> (bool, bool) {
        match self.known(pool) {
            Some(queue) => queue.state.lock().lines.is_new(party),
            None => (true, true),
        }
    }

    /// Who is next on this endpoint once the first of this party's line is served.
    pub(super) fn behind(
        &self,
        pool: &str,
        party: &Party,
        service: f64,
        endpoint: &str,
    ) -> Option<Party> {
        let queue = self.known(pool)?;
        let state = queue.state.lock();
        let next = state
            .lines
            .behind(party, service, |waiter| waiter.may_use(endpoint))?;
        Some(next.party.clone())
    }

    /// A request of this party was admitted. It is counted if others wait, or waited recently, or if the limiter over
    /// replicas counted it (`is_charged`).
    pub(super) fn served(
        &self,
        pool: &Arc<str>,
        party: &Party,
        service: f64,
        is_charged: bool,
        now: Instant,
    ) -> Option<Served> {
        let queue = self.known(pool);
        let is_in_line = queue.is_some();
        if !is_in_line && !is_charged {
            return None;
        }
        self.note(pool, party, service, 0.0);
        if let Some(queue) = queue {
            queue.state.lock().started(party, service, now);
        }
        Some(Served {
            pool: Arc::clone(pool),
            party: party.clone(),
            service,
            is_in_line,
            is_charged,
        })
    }

    /// A request is over: something came back to its pool, and under its user's limits, which may hold it up elsewhere.
    pub(super) fn freed(&self, pool: &str, user: &str, served: Option<Served>, service: f64) {
        if let Some(served) = &served {
            let correction = service - served.service;
            let uncounted = if served.is_charged { correction } else { 0.0 };
            self.note(&served.pool, &served.party, correction, uncounted);
        }
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut pools = self.pools.lock();
        if let Some(served) = served.filter(|served| served.is_in_line)
            && let Some(queue) = pools.get(&served.pool)
        {
            let mut state = queue.state.lock();
            let correction = service - served.service;
            state.lines.ended(&served.party, correction);
        }
        pools.retain(|name, queue| {
            let mut state = queue.state.lock();
            state.returns += 1;
            state.lines.release_user(user);
            if **name == *pool {
                state.call_next();
            } else {
                state.call_of(user);
            }
            !state.lines.is_idle()
        });
        self.count.store(pools.len(), Ordering::Relaxed);
    }
}

/// Among replicas that share their limits.
impl Queues {
    /// `true`: service is noted, to be told to others.
    pub(super) fn new(is_shared: bool) -> Self {
        Self {
            spent: is_shared.then(Mutex::default),
            ..Self::default()
        }
    }
}
