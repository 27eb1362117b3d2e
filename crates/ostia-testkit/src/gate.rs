//! How a test holds something back until it wants it to happen, instead of sleeping.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::patience::within;

/// Closed at first. Each step behind it waits for one release; clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    permits: Arc<Semaphore>,
    arrivals: watch::Sender<usize>,
}

impl Gate {
    pub fn closed() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
            arrivals: watch::Sender::new(0),
        }
    }

    /// Lets `count` more steps through.
    pub fn release(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    /// Waits until `count` steps in all have come to this gate, whether or not they were let through.
    pub async fn reached(&self, count: usize) {
        let mut arrivals = self.arrivals.subscribe();
        let seen = arrivals.clone();
        let awaited = || format!("{count} arrivals at a gate; {} came", *seen.borrow());
        let reached = arrivals.wait_for(|arrived| *arrived >= count);
        within(awaited, reached).await.unwrap();
    }

    /// Waits for a release. Safe to cancel: a release that was not used is not lost.
    pub async fn pass(&self) {
        self.arrivals.send_modify(|arrived| *arrived += 1);
        // An error means that the gate is open for good.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::closed()
    }
}
