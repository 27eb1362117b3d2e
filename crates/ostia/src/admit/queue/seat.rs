//! A waiter's place in line.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Shortage;
use super::Queues;
use super::line::Queue;
use super::waiter::Waiter;

/// One waiter's place in line. When dropped, it leaves the queue and passes on an unused turn.
pub(in super::super) struct Seat<'a> {
    pub(super) queues: &'a Queues,
    pub(super) pool: Arc<str>,
    pub(super) queue: Arc<Queue>,
    pub(super) waiter: Arc<Waiter>,
}

/// One try to be admitted, and the count of returns at that time.
#[derive(Clone, Copy)]
pub(in super::super) struct Try(u64);

impl Seat<'_> {
    /// Whether it has to leave, so that a user with fewer requests in line can wait.
    pub(in super::super) fn is_evicted(&self) -> bool {
        self.waiter.evicted.load(Ordering::Relaxed)
    }

    /// Resolves when it is this waiter's turn. Cancel-safe.
    pub(in super::super) async fn turn(&self) {
        self.waiter.bell.notified().await;
    }

    /// A try, if it is allowed: it was called, or nobody is ahead of it in line.
    pub(in super::super) fn is_due(&self) -> Option<Try> {
        let mut state = self.queue.state.lock();
        let due = Try(state.returns);
        if self.waiter.is_called() {
            return Some(due);
        }
        // Time may have brought back what its own limits lacked.
        state.lines.set_held(&self.waiter.party, false);
        (!state.lines.is_preceded(&self.waiter)).then_some(due)
    }

    /// This waiter has no room under its own limits, but others may have: their turn.
    pub(in super::super) fn pass(&self, failed: Try) {
        let mut state = self.queue.state.lock();
        self.waiter.called.store(false, Ordering::Relaxed);
        if failed.0 != state.returns {
            return self.waiter.call();
        }
        state.lines.set_held(&self.waiter.party, true);
        state.call_next();
    }

    /// The endpoints that this waiter may use have no room: next is a waiter that may use others.
    pub(in super::super) fn sit_down(&self, failed: Try) {
        let state = self.queue.state.lock();
        self.waiter.called.store(false, Ordering::Relaxed);
        if failed.0 != state.returns {
            return self.waiter.call();
        }
        let beyond = |other: &Waiter| !self.waiter.covers(other);
        state.call(state.lines.next_after(&self.waiter, beyond));
    }

    /// How long it is likely to wait for a place; `None` where nothing is known.
    pub(in super::super) fn forecast(&self, now: Instant) -> Option<Duration> {
        self.queue.state.lock().forecast(&self.waiter, now)
    }

    /// What was lacking when it tried.
    pub(in super::super) fn lacks(&self, shortage: &Shortage) {
        *self.waiter.lacks.lock() = Some(shortage.clone());
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.queues.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut pools = self.queues.pools.lock();
        let mut state = self.queue.state.lock();
        state.lines.leave(&self.waiter);
        // More than one thing may have come back meanwhile, and an unused turn goes to another waiter.
        state.call_next();
        if state.lines.is_idle() {
            pools.remove(&self.pool);
            self.queues.count.store(pools.len(), Ordering::Relaxed);
        }
    }
}
