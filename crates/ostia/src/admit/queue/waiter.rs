//! One request that waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::Shortage;
use super::super::fair::Party;

pub(in super::super) struct Waiter {
    pub(in super::super) party: Party,
    /// Slugs.
    pub(in super::super) endpoints: Box<[Arc<str>]>,
    pub(in super::super) arrival: u64,
    /// It is this one's turn to try.
    pub(super) called: AtomicBool,
    pub(in super::super) since: Instant,
    /// What it lacked when it last tried.
    pub(super) lacks: Mutex<Option<Shortage>>,
    /// It has to give way: the queue is full, and its line is the longest.
    pub(super) evicted: AtomicBool,
    pub(super) bell: Notify,
}

impl Waiter {
    pub(in super::super) fn new(
        party: Party,
        endpoints: Box<[Arc<str>]>,
        arrival: u64,
        since: Instant,
    ) -> Self {
        Self {
            party,
            endpoints,
            arrival,
            called: AtomicBool::new(false),
            since,
            lacks: Mutex::default(),
            evicted: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    /// Whether it may use every endpoint that `other` may use.
    pub(in super::super) fn covers(&self, other: &Self) -> bool {
        let mut others = other.endpoints.iter();
        others.all(|endpoint| self.endpoints.contains(endpoint))
    }
}

impl Waiter {
    pub(super) fn may_use(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|slug| **slug == *endpoint)
    }

    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    pub(super) fn call(&self) {
        self.called.store(true, Ordering::Relaxed);
        self.bell.notify_one();
    }
}
