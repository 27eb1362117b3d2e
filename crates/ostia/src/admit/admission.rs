use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Cost, Hold, Identity, Receipt, Standing, Usage};

use super::admitter::{Asking, Entry, Shared};
use super::cost::{learn, real_service};
use super::queue::Served;
use super::{Attempt, Refused};
use crate::catalog::Deployment;
use crate::fleet::InFlightGuard;
use crate::rank::Ranked;
use crate::read::Demand;
use crate::settings::OwnLimits;

/// The right to send one request: the user's part of every limit, and a lease on one endpoint.
///
/// Only [`super::Admitter`] makes one. Dropped before it was sent, it undoes all of it.
pub struct Admission {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Arc<Identity>,
    pub(super) user: Hold,
    pub(super) lease: Option<Lease>,
    pub(super) deployment: Arc<Deployment>,
    /// Endpoints that were not tried yet.
    pub(super) ranked: Ranked,
    demand: Demand,
    own: OwnLimits,
    cost: Cost,
    pub(super) standing: Standing,
    /// How long it waited for its turn, if it had to.
    pub(super) waited: Option<Duration>,
    /// Its part of what others in the queue are weighed against.
    served: Option<Served>,
    over: bool,
}

/// One request's part of one endpoint: its place, and its share of the endpoint's limits. Gives itself back on drop.
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
        mut ranked: Ranked,
        entry: Entry<'_>,
        asking: &Asking<'_>,
        leased: Leased,
        served: Option<Served>,
    ) -> Self {
        let deployment = ranked.take(leased.at);
        let (hold, user) = leased.grant.hold.split(ostia_core::Scope::is_of_endpoint);
        Self {
            shared,
            identity: Arc::clone(entry.principal.identity()),
            user,
            lease: Some(Lease {
                hold,
                _place: leased.place,
            }),
            deployment,
            ranked,
            demand: entry.demand.clone(),
            own: asking.own,
            cost: asking.cost,
            standing: leased.grant.standing,
            waited: None,
            served,
            over: false,
        }
    }

    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// How the caller stands with its limits, for `x-ratelimit-*`.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// It is written down that the request may reach a backend.
    pub fn recorded(self, receipt: Receipt) -> Attempt {
        Attempt::new(self, receipt)
    }

    /// The backend gets the request. From here on it counts: a later failure gives its tokens back, but not its place in
    /// the rate.
    pub(super) fn sent(&mut self) {
        self.user.sent();
        self.deployment.state.sent();
    }

    /// Gives the endpoint's part back and leases the next one that was not tried yet; the user's part is kept, so a retry
    /// is charged once.
    pub(super) async fn move_on(
        &mut self,
        limits: &crate::settings::Limits,
    ) -> Result<(), Refused> {
        self.lease = None;
        let shared = Arc::clone(&self.shared);
        let wanted = ostia_core::Scope::is_of_endpoint;
        let asking = Asking {
            limits,
            own: self.own,
            identity: &self.identity,
            cost: self.cost,
        };
        let leased = shared.lease(&self.ranked, &asking, wanted).await?;
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

    /// The request is over: the reservation becomes what it really used, and its places are free. Later calls change
    /// nothing. `usage`: `None` where it used nothing.
    pub(super) fn settle(&mut self, usage: Option<&Usage>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let used = usage.map_or(0, |usage| usage.total_tokens);
        self.user.settle(used);
        if let Some(mut lease) = self.lease.take() {
            lease.hold.settle(used);
        }
        let service = usage.map_or(0.0, real_service);
        let (pool, user) = (self.ranked.model(), &self.identity.user_id);
        self.shared
            .queues
            .freed(pool, user, self.served.take(), service);
    }

    /// The answer came whole: what it needed says what the next one will need.
    pub(super) fn learn(&self, usage: &Usage) {
        learn(&self.deployment.learned, &self.demand, usage);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(None);
    }
}
