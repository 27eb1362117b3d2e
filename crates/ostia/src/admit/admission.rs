use std::sync::Arc;

use ostia_core::{Cost, Hold, Identity, Receipt, Standing};

use super::admitter::Shared;
use super::{Attempt, Refused};
use crate::catalog::Deployment;
use crate::fleet::InFlightGuard;
use crate::rank::Ranked;

/// The right to send one request: the user's share of every limit, and a lease on one endpoint.
///
/// Only [`super::Admitter`] makes one. Dropping it before the request was sent undoes everything.
pub struct Admission {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Arc<Identity>,
    pub(super) user: Hold,
    pub(super) lease: Option<Lease>,
    pub(super) deployment: Arc<Deployment>,
    /// Endpoints that have not been tried yet.
    pub(super) ranked: Ranked,
    pub(super) cost: Cost,
    pub(super) standing: Standing,
    over: bool,
}

/// One request's share of one endpoint: its place, and its part of the endpoint's limits. Returned on drop.
pub(super) struct Lease {
    pub(super) hold: Hold,
    pub(super) _place: InFlightGuard,
}

/// An endpoint that had room.
pub(super) struct Leased {
    pub(super) at: usize,
    pub(super) place: InFlightGuard,
    pub(super) grant: ostia_core::Grant,
}

impl Admission {
    pub(super) fn new(
        shared: Arc<Shared>,
        identity: Arc<Identity>,
        mut ranked: Ranked,
        cost: Cost,
        leased: Leased,
    ) -> Self {
        let deployment = ranked.take(leased.at);
        let (hold, user) = leased.grant.hold.split(ostia_core::Scope::is_of_endpoint);
        Self {
            shared,
            identity,
            user,
            lease: Some(Lease {
                hold,
                _place: leased.place,
            }),
            deployment,
            ranked,
            cost,
            standing: leased.grant.standing,
            over: false,
        }
    }

    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// The caller's usage of its limits, for `x-ratelimit-*`.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// It is now on record that the request may reach a backend.
    pub fn recorded(self, receipt: Receipt) -> Attempt {
        Attempt::new(self, receipt)
    }

    /// The request goes to the backend. From now on it counts: a later failure returns its tokens, but not its place in
    /// the rate.
    pub(super) fn sent(&mut self) {
        self.user.sent();
        self.deployment.state.sent();
    }

    /// Returns the endpoint's share and leases the next untried endpoint. The user's share is kept, so a retry is
    /// charged once.
    pub(super) async fn move_on(
        &mut self,
        limits: &crate::settings::Limits,
    ) -> Result<(), Refused> {
        self.lease = None;
        let shared = Arc::clone(&self.shared);
        let wanted = ostia_core::Scope::is_of_endpoint;
        let leasing = shared.lease(&self.ranked, &self.identity, limits, self.cost, wanted);
        let leased = leasing.await?;
        self.deployment.state.failed();
        self.deployment = self.ranked.take(leased.at);
        self.standing.moved_to(leased.grant.standing);
        self.lease = Some(Lease {
            hold: leased.grant.hold,
            _place: leased.place,
        });
        Ok(())
    }

    pub(super) fn has_others(&self) -> bool {
        !self.ranked.candidates().is_empty()
    }

    /// The request is over: replaces the reservation with what was really used, and frees its places. Later calls have
    /// no effect.
    pub(super) fn settle(&mut self, used_tokens: u64) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.user.settle(used_tokens);
        if let Some(mut lease) = self.lease.take() {
            lease.hold.settle(used_tokens);
        }
        self.shared
            .freed(self.ranked.model(), &self.identity.user_id);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(0);
    }
}
