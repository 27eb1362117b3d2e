use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The queues of all pools. A pool is all endpoints of a model; each waiter holds the part of them that it may use.
#[derive(Default)]
pub(super) struct Queues {
    /// Only those in which somebody waits.
    pools: Mutex<HashMap<Arc<str>, Arc<Queue>>>,
    waiting: AtomicUsize,
}

/// Those who wait for one pool. Who is served next is decided by what users had, not by who came first.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiters: Vec<Arc<Waiter>>,
    /// Tokens that users with waiters were served, each lifted at its arrival to the least of those who waited then
    /// (virtual token counters): who stayed away saves nothing up.
    served: HashMap<Arc<str>, u64>,
    arrivals: u64,
}

struct Waiter {
    user: Arc<str>,
    arrival: u64,
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

impl Queues {
    /// How many wait, all pools together.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for this pool: who comes now may not pass them.
    pub(super) fn is_waited_for(&self, pool: &str) -> bool {
        self.waiting() != 0 && self.pools.lock().contains_key(pool)
    }

    /// Takes a place in line.
    pub(super) fn join(&self, pool: &Arc<str>, user: &Arc<str>) -> Seat<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut pools = self.pools.lock();
        let queue = Arc::clone(pools.entry(Arc::clone(pool)).or_default());
        let waiter = queue.state.lock().join(user);
        Seat {
            queues: self,
            pool: Arc::clone(pool),
            queue,
            waiter,
        }
    }

    /// Something came back: of this pool, and of this user's limits, which may hold it up elsewhere.
    pub(super) fn freed(&self, pool: &str, user: &str) {
        if self.waiting() == 0 {
            return;
        }
        for (name, queue) in &*self.pools.lock() {
            let state = queue.state.lock();
            if **name == *pool {
                state.call_next(|_| true);
            } else {
                state.call_next(|waiter| *waiter.user == *user);
            }
        }
    }
}

impl Seat<'_> {
    /// Resolves when it is this waiter's turn. Cancel-safe.
    pub(super) async fn turn(&self) {
        self.waiter.bell.notified().await;
    }

    /// Whether it may try: it was called, or nobody in line stands before it.
    pub(super) fn is_due(&self) -> bool {
        if self.waiter.called.load(Ordering::Relaxed) {
            return true;
        }
        let state = self.queue.state.lock();
        let own = state.rank_of(&self.waiter);
        state
            .waiters
            .iter()
            .all(|other| state.rank_of(other) >= own)
    }

    /// What this waiter needs is not there, though others may have theirs: the next one's turn.
    pub(super) fn pass(&self) {
        let state = self.queue.state.lock();
        let own = state.rank_of(&self.waiter);
        self.waiter.called.store(false, Ordering::Relaxed);
        state.call_next(|other| state.rank_of(other) > own);
    }

    /// It is still not there for anybody: the turn is over.
    pub(super) fn sit_down(&self) {
        self.waiter.called.store(false, Ordering::Relaxed);
    }

    /// The waiter was let in and will cost so many tokens.
    pub(super) fn served(&self, tokens: u64) {
        let mut state = self.queue.state.lock();
        if let Some(served) = state.served.get_mut(&self.waiter.user) {
            *served = served.saturating_add(tokens.max(1));
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.queues.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut pools = self.queues.pools.lock();
        let mut state = self.queue.state.lock();
        state.leave(&self.waiter);
        // More than one thing may have come back meanwhile, and a turn that was not used is another's.
        state.call_next(|_| true);
        if state.waiters.is_empty() {
            pools.remove(&self.pool);
        }
    }
}

impl State {
    fn join(&mut self, user: &Arc<str>) -> Arc<Waiter> {
        let least = self.served.values().min().copied().unwrap_or(0);
        self.served.entry(Arc::clone(user)).or_insert(least);
        self.arrivals += 1;
        let waiter = Arc::new(Waiter {
            user: Arc::clone(user),
            arrival: self.arrivals,
            called: AtomicBool::new(false),
            bell: Notify::new(),
        });
        self.waiters.push(Arc::clone(&waiter));
        waiter
    }

    fn leave(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.retain(|other| !Arc::ptr_eq(other, waiter));
        if self.waiters.iter().all(|other| other.user != waiter.user) {
            self.served.remove(&waiter.user);
        }
    }

    /// Smaller is earlier.
    fn rank_of(&self, waiter: &Waiter) -> (u64, u64) {
        let served = self.served.get(&waiter.user).copied().unwrap_or(0);
        (served, waiter.arrival)
    }

    fn call_next(&self, may: impl Fn(&Waiter) -> bool) {
        let idle = |waiter: &&Arc<Waiter>| !waiter.called.load(Ordering::Relaxed) && may(waiter);
        let next = self.waiters.iter().filter(idle);
        if let Some(next) = next.min_by_key(|waiter| self.rank_of(waiter)) {
            next.called.store(true, Ordering::Relaxed);
            next.bell.notify_one();
        }
    }
}
