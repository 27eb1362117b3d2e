use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codings::Memory;

/// A shared budget of bytes for all request bodies in flight.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
}

/// Bytes taken from a [`Budget`], returned on drop.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
        })
    }

    /// What is taken stays taken, even if it exceeds the new limit.
    pub fn resize(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        let mut reserved = Reserved {
            budget: Arc::clone(self),
            bytes: 0,
        };
        reserved.grow(bytes).then_some(reserved)
    }
}

impl Reserved {
    /// Takes more bytes; returns `false`, and takes nothing, if the budget is spent.
    pub fn grow(&mut self, more: u64) -> bool {
        let limit = self.budget.limit.load(Ordering::Relaxed);
        let taken = self
            .budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|sum| *sum <= limit)
            })
            .is_ok();
        if taken {
            self.bytes += more;
        }
        taken
    }

    /// Returns all but so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.budget.used.fetch_sub(rest, Ordering::Relaxed);
    }
}

impl Memory for Reserved {
    fn hold(&mut self, bytes: u64) -> bool {
        self.shrink_to(bytes);
        self.grow(bytes - self.bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
