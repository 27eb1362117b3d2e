//! What the admitter knows, for those who watch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ostia_core::{Claim, Identity, Scope, Standing};

use super::super::blocks::Blocks;
use super::super::limits::{claims, own_limits};
use super::super::queue::Waits;
use super::super::{Heard, LocalLimiter};
use super::{Admitter, Shared};
use crate::catalog::Deployment;
use crate::settings::Limits;

impl Admitter {
    /// This process's own counts.
    pub fn local(&self) -> &Arc<LocalLimiter> {
        &self.0.local
    }

    /// There is more room than before: the next in line tries.
    pub fn came_back(&self) {
        self.0.queues.came_back();
    }

    /// How many requests wait for their turn.
    pub fn waiting(&self) -> usize {
        self.0.queues.waiting()
    }

    /// The longest wait since the last call.
    pub fn take_longest_wait(&self) -> Duration {
        Duration::from_millis(self.0.longest_wait.swap(0, Ordering::Relaxed))
    }

    /// Who waits, for what, since when, and how long still.
    pub fn waits(&self) -> Vec<Waits> {
        self.0.queues.waits(self.0.clock.now())
    }

    /// Who is let in no longer.
    pub fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    /// How many requests of one user wait.
    pub fn waiting_of(&self, user: &str) -> usize {
        self.0.queues.waiting_of(user)
    }

    /// The state of a caller's limits on each of these endpoints, as far as this process knows. Limits common to all of
    /// them come first, without an endpoint.
    pub async fn standing<'a>(
        &self,
        identity: &Identity,
        limits: &Limits,
        deployments: &'a [Arc<Deployment>],
    ) -> Vec<(Option<&'a Arc<Deployment>>, Standing)> {
        let own = own_limits(limits, identity);
        let everywhere = deployments.first().map(|any| {
            let claims = claims(limits, &own, identity, any, Scope::is_of_all_models);
            (None, claims)
        });
        let each = deployments.iter().map(|one| {
            let claims = claims(limits, &own, identity, one, |scope| {
                !scope.is_of_all_models()
            });
            (Some(one), claims)
        });
        let mut standings = Vec::with_capacity(deployments.len() + 1);
        for (endpoint, claims) in everywhere.into_iter().chain(each) {
            standings.push((endpoint, self.0.standing(&claims).await));
        }
        standings
    }

    /// Tells other replicas of bad credentials, if limits are shared, and returns theirs.
    pub async fn tell_guesses(&self, heard: &mut Heard, own: Vec<(u128, u32)>) -> Vec<(u128, u32)> {
        match &self.0.shared {
            Some(shared) => shared.tell_guesses(heard, own).await,
            None => Vec::new(),
        }
    }

    /// Whether limits are shared, but currently enforced by this process alone.
    pub fn is_degraded(&self) -> bool {
        self.0
            .shared
            .as_ref()
            .is_some_and(|shared| shared.is_degraded())
    }

    /// Replicas that share their limits, as they were seen last.
    pub fn replicas(&self) -> u64 {
        self.0.shared.as_ref().map_or(1, |shared| shared.replicas())
    }
}

impl Shared {
    async fn standing(&self, claims: &[Claim]) -> Standing {
        let looked = match &self.shared {
            Some(shared) => shared.look(claims).await,
            None => None,
        };
        looked.unwrap_or_else(|| self.limiter.standing(claims))
    }
}
