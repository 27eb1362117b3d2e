use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The queues of all pools. A pool is all endpoints of a model; each waiter may use some of them.
#[derive(Default)]
pub(super) struct Queues {
    /// Only the queues that have waiters.
    pools: Mutex<HashMap<Arc<str>, Arc<Queue>>>,
    waiting: AtomicUsize,
}

/// The waiters of one pool. Who is served next depends on how much each user was served, not on who came first.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiters: Vec<Arc<Waiter>>,
    /// Tokens served to each user with waiters (virtual token counters). A user who arrives is raised to the least of
    /// those waiting, so that staying away does not save up credit.
    served: HashMap<Arc<str>, u64>,
    arrivals: u64,
}

struct Waiter {
    user: Arc<str>,
    arrival: u64,
    /// It is this waiter's turn to try.
    called: AtomicBool,
    bell: Notify,
}

/// A waiter's seat in the queue. Dropping it leaves the queue and passes on an unused turn.
pub(super) struct Seat<'a> {
    queues: &'a Queues,
    pool: Arc<str>,
    queue: Arc<Queue>,
    waiter: Arc<Waiter>,
}

impl Queues {
    /// How many wait in all pools together.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether anyone waits for this pool. A newcomer must not pass them.
    pub(super) fn is_waited_for(&self, pool: &str) -> bool {
        self.waiting() != 0 && self.pools.lock().contains_key(pool)
    }

    /// Joins the queue.
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

    /// Something was freed: a place in this pool, and a part of this user's limits, which may unblock the user in other
    /// pools.
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

    /// Whether it may try: it was called, or nobody is ahead of it.
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

    /// This waiter cannot be served, but others might: calls the next one.
    pub(super) fn pass(&self) {
        let state = self.queue.state.lock();
        let own = state.rank_of(&self.waiter);
        self.waiter.called.store(false, Ordering::Relaxed);
        state.call_next(|other| state.rank_of(other) > own);
    }

    /// Nobody can be served: ends the turn.
    pub(super) fn sit_down(&self) {
        self.waiter.called.store(false, Ordering::Relaxed);
    }

    /// The waiter was admitted and will cost this many tokens.
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
        // More may have been freed in the meantime, and an unused turn belongs to someone else.
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

    /// The smallest goes first.
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
