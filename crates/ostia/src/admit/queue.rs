use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::fair::{Lines, Party};

/// Waiters of one pool at most: more would wait longer than anybody wants.
const MOST_WAITERS: usize = 4096;
/// Services by which the length of a wait is forecast.
const REMEMBERED: usize = 16;
/// Fewer say nothing.
const LEAST_REMEMBERED: usize = 4;

/// The queues of all pools. A pool is all endpoints of a model; each waiter holds the part of them that it may use.
#[derive(Default)]
pub(super) struct Queues {
    /// Those in which somebody waits, or waited while requests began that still run.
    pools: Mutex<HashMap<Arc<str>, Arc<Queue>>>,
    waiting: AtomicUsize,
    /// Of `pools`, to be read without the lock.
    count: AtomicUsize,
}

/// One pool's queue. Who is served next is decided by what projects and users had, not by who came first.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: Lines,
    arrivals: u64,
    /// How often something came back: whoever tried before the last time tries again.
    returns: u64,
    /// When the last requests were let in.
    served: VecDeque<Instant>,
}

pub(super) struct Waiter {
    pub(super) party: Party,
    /// Slugs.
    pub(super) endpoints: Box<[Arc<str>]>,
    pub(super) arrival: u64,
    /// It is this one's turn to try.
    called: AtomicBool,
    bell: Notify,
}

/// One waiter's place in line. Dropped, it leaves the queue, and hands on a turn that it did not use.
pub(super) struct Seat<'a> {
    queues: &'a Queues,
    pool: Arc<str>,
    queue: Arc<Queue>,
    waiter: Arc<Waiter>,
}

/// One try to be let in, and what had come back until then.
#[derive(Clone, Copy)]
pub(super) struct Try(u64);

/// The service that a request was counted with while others waited. Settled or dropped, it is over.
pub(super) struct Served {
    pool: Arc<str>,
    party: Party,
    service: f64,
}

impl Waiter {
    pub(super) fn new(party: Party, endpoints: Box<[Arc<str>]>, arrival: u64) -> Self {
        Self {
            party,
            endpoints,
            arrival,
            called: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    /// Whether it may use every endpoint that `other` may use.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut others = other.endpoints.iter();
        others.all(|endpoint| self.endpoints.contains(endpoint))
    }
}

impl Queues {
    /// How many wait, all pools together.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many requests of one user wait, all pools together.
    pub(super) fn waiting_of(&self, user: &str) -> usize {
        let pools = self.pools.lock();
        pools
            .values()
            .map(|queue| queue.state.lock().lines.waiting_of(user))
            .sum()
    }

    /// Whether somebody waits for this pool: who comes now may not pass them.
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

    /// Takes a place in line; `None`: there is none left.
    pub(super) fn join(
        &self,
        pool: &Arc<str>,
        party: Party,
        endpoints: Box<[Arc<str>]>,
    ) -> Option<Seat<'_>> {
        let mut pools = self.pools.lock();
        let queue = Arc::clone(pools.entry(Arc::clone(pool)).or_default());
        self.count.store(pools.len(), Ordering::Relaxed);
        let mut state = queue.state.lock();
        if state.lines.waiting() >= MOST_WAITERS {
            return None;
        }
        state.arrivals += 1;
        let waiter = Arc::new(Waiter::new(party, endpoints, state.arrivals));
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

    /// A request of this party was let in. It is counted where others wait, or waited lately.
    pub(super) fn served(
        &self,
        pool: &Arc<str>,
        party: &Party,
        service: f64,
        now: Instant,
    ) -> Option<Served> {
        let queue = self.known(pool)?;
        let mut state = queue.state.lock();
        state.lines.started(party, service);
        if state.served.len() == REMEMBERED {
            state.served.pop_front();
        }
        state.served.push_back(now);
        Some(Served {
            pool: Arc::clone(pool),
            party: party.clone(),
            service,
        })
    }

    /// A request is over: something came back to its pool, and under its user's limits, which may hold it up elsewhere.
    pub(super) fn freed(&self, pool: &str, user: &str, served: Option<Served>, service: f64) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut pools = self.pools.lock();
        if let Some(served) = served
            && let Some(queue) = pools.get(&served.pool)
        {
            let mut state = queue.state.lock();
            state.lines.ended(&served.party, service - served.service);
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

impl Seat<'_> {
    /// Resolves when it is this waiter's turn. Cancel-safe.
    pub(super) async fn turn(&self) {
        self.waiter.bell.notified().await;
    }

    /// A try, if it may: it was called, or nobody in line stands before it.
    pub(super) fn is_due(&self) -> Option<Try> {
        let mut state = self.queue.state.lock();
        let due = Try(state.returns);
        if self.waiter.is_called() {
            return Some(due);
        }
        // Time may have brought back what its own limits lacked.
        state.lines.set_held(&self.waiter.party, false);
        (!state.lines.is_preceded(&self.waiter)).then_some(due)
    }

    /// What this waiter needs under limits of its own is not there, though others may have theirs: their turn.
    pub(super) fn pass(&self, failed: Try) {
        let mut state = self.queue.state.lock();
        self.waiter.called.store(false, Ordering::Relaxed);
        if failed.0 != state.returns {
            return self.waiter.call();
        }
        state.lines.set_held(&self.waiter.party, true);
        state.call_next();
    }

    /// The endpoints that this waiter may use have no room: the turn of one that may use others.
    pub(super) fn sit_down(&self, failed: Try) {
        let state = self.queue.state.lock();
        self.waiter.called.store(false, Ordering::Relaxed);
        if failed.0 != state.returns {
            return self.waiter.call();
        }
        let beyond = |other: &Waiter| !self.waiter.covers(other);
        state.call(state.lines.next_after(&self.waiter, beyond));
    }

    /// How long it is likely to wait for a place; `None` where nothing is known.
    pub(super) fn forecast(&self, now: Instant) -> Option<Duration> {
        let state = self.queue.state.lock();
        let (first, last) = (state.served.front()?, state.served.back()?);
        if state.served.len() < LEAST_REMEMBERED {
            return None;
        }
        let gaps = u32::try_from(state.served.len() - 1).unwrap_or(u32::MAX);
        let usual = last.saturating_duration_since(*first) / gaps;
        // A pool in which nothing has moved for longer than usual has slowed down.
        let pace = usual.max(now.saturating_duration_since(*last) / 2);
        let ahead = u32::try_from(state.lines.ahead_of(&self.waiter)).unwrap_or(u32::MAX);
        Some(pace.saturating_mul(ahead.saturating_add(1)))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.queues.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut pools = self.queues.pools.lock();
        let mut state = self.queue.state.lock();
        state.lines.leave(&self.waiter);
        // More than one thing may have come back meanwhile, and a turn that was not used is another's.
        state.call_next();
        if state.lines.is_idle() {
            pools.remove(&self.pool);
            self.queues.count.store(pools.len(), Ordering::Relaxed);
        }
    }
}

impl Waiter {
    fn is_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
        self.bell.notify_one();
    }
}

impl State {
    /// One who is called already calls the next one when it was served.
    fn call_next(&self) {
        self.call(self.lines.next(|_| true));
    }

    fn call_of(&self, user: &str) {
        self.call(self.lines.next(|waiter| *waiter.party.user == *user));
    }

    fn call(&self, next: Option<Arc<Waiter>>) {
        if let Some(next) = next.filter(|next| !next.is_called()) {
            next.call();
        }
    }
}
