//! Who waits, for those who watch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ostia_core::Class;

use super::super::Shortage;
use super::Queues;

/// One request that waits, for those who watch.
#[derive(Debug, Clone)]
pub struct Waits {
    pub model: Arc<str>,
    /// The ledger's `user_id`.
    pub user: Arc<str>,
    /// Empty where there is none.
    pub project: Arc<str>,
    pub class: Class,
    pub waited: Duration,
    /// What it lacked at its last try; `None`: it has not tried yet.
    pub lacks: Option<Shortage>,
    /// How much longer it is likely to wait; `None` if unknown.
    pub forecast: Option<Duration>,
}

impl Queues {
    /// How many wait, all pools together.
    pub(in super::super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many requests of one user wait, all pools together.
    pub(in super::super) fn waiting_of(&self, user: &str) -> usize {
        let pools = self.pools.lock();
        pools
            .values()
            .map(|queue| queue.state.lock().lines.waiting_of(user))
            .sum()
    }

    /// Everybody who waits, in no particular order.
    pub(in super::super) fn waits(&self, now: Instant) -> Vec<Waits> {
        let mut waits = Vec::new();
        for (pool, queue) in self.pools.lock().iter() {
            let state = queue.state.lock();
            for waiter in state.lines.waiters() {
                waits.push(Waits {
                    model: Arc::clone(pool),
                    user: Arc::clone(&waiter.party.user),
                    project: waiter.party.named_project(),
                    class: waiter.party.class,
                    waited: now.saturating_duration_since(waiter.since),
                    lacks: waiter.lacks.lock().clone(),
                    forecast: state.forecast(waiter, now),
                });
            }
        }
        waits
    }
}
