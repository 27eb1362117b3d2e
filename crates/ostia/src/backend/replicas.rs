use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostia_core::millis;

use crate::catalog::{Deployment, Origin};
use crate::upstream::Outgoing;

/// The URLs of a backend that has several (`model_urls`). Requests take them in turn. One that could not be reached is
/// asked after the others for a while.
pub(super) struct Replicas {
    /// `None`: the deployment's own URL.
    origins: Vec<Option<Origin>>,
    /// Milliseconds since `began` until which each rests.
    rests: Vec<AtomicU64>,
    next: AtomicUsize,
    began: Instant,
}

const REST: Duration = Duration::from_secs(10);

impl Replicas {
    /// `None`: there is one URL, and nothing is paid for this.
    pub fn of(deployment: &Deployment, now: Instant) -> Option<Self> {
        let more = &deployment.target.replicas;
        if more.is_empty() {
            return None;
        }
        let mut origins = vec![None];
        origins.extend(more.iter().map(|replica| Some(replica.origin.clone())));
        Some(Self {
            rests: origins.iter().map(|_| AtomicU64::new(0)).collect(),
            origins,
            next: AtomicUsize::new(0),
            began: now,
        })
    }

    /// The order in which a request tries them.
    pub fn order(&self, now: Instant) -> Vec<usize> {
        let count = self.origins.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut order: Vec<usize> = (0..count)
            .map(|nth| first.wrapping_add(nth) % count)
            .collect();
        let now = self.millis(now);
        order.sort_by_key(|at| self.rests[*at].load(Ordering::Relaxed) > now);
        order
    }

    pub fn unreachable(&self, at: usize, now: Instant) {
        let until = self.millis(now + REST);
        self.rests[at].store(until, Ordering::Relaxed);
    }

    /// The request for this one.
    pub fn direct(
        &self,
        at: usize,
        deployment: &Deployment,
        api: &str,
        outgoing: &Outgoing,
    ) -> Outgoing {
        let mut outgoing = outgoing.clone();
        if let Some(origin) = &self.origins[at]
            && let Some(replica) = deployment.target.replicas.get(at - 1)
        {
            outgoing.origin = Some(origin.clone());
            outgoing.path_and_query = deployment.target.replica_path(replica, api);
        }
        outgoing
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.began))
    }
}
