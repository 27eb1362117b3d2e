use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Cost, Hold, Identity, Receipt, Standing, Usage};

use super::Attempt;
use super::admitter::{Asking, Entry, Line, Shared, WhenAway};
use super::cost::{learn, real_service};
use super::queue::Served;
use crate::catalog::Deployment;
use crate::fleet::InFlightGuard;
use crate::rank::Ranked;
use crate::read::Demand;
use crate::settings::{Limits, OwnLimits};

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
    pub(super) standing: Standing,
    pub(super) line: Line,
    /// Its part of the service that is compared in the queue.
    served: Option<Served>,
    over: bool,
}

/// One request's part of one endpoint: its place, and its share of the endpoint's limits. Gives itself back on drop.
pub(super) struct Lease {
    pub(super) hold: Hold,
    place: InFlightGuard,
}

/// An endpoint that had room.
pub(super) struct Leased {
    pub(super) at: usize,
    pub(super) place: InFlightGuard,
    pub(super) grant: ostia_core::Grant,
    /// What the grant was asked for.
    pub(super) cost: Cost,
    /// The limiter over replicas counted the service that is expected.
    pub(super) is_charged: bool,
}

impl Admission {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut ranked: Ranked,
        entry: Entry<'_>,
        asking: &Asking<'_>,
        leased: Leased,
        line: Line,
        served: Option<Served>,
    ) -> Self {
        let (deployment, uncached) = ranked.take(leased.at);
        let mut place = leased.place;
        place.weigh(uncached);
        let (hold, user) = leased.grant.hold.split(ostia_core::Scope::is_of_endpoint);
        Self {
            shared,
            identity: Arc::clone(entry.principal.identity()),
            user,
            lease: Some(Lease { hold, place }),
            deployment,
            ranked,
            demand: entry.demand.clone(),
            own: asking.own,
            standing: leased.grant.standing,
            line,
            served,
            over: false,
        }
    }

    pub fn deployment(&self) -> &Arc<Deployment> {
        &self.deployment
    }

    /// The state of the caller's limits, for `x-ratelimit-*`.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// How long the request waited for its turn, if it had to.
    pub fn waited(&self) -> Option<Duration> {
        self.line.waited
    }

    /// It was recorded that the request may reach a backend.
    pub fn recorded(self: Box<Self>, receipt: Receipt) -> Attempt {
        Attempt::new(self, receipt)
    }

    /// The backend gets the request. From here on it counts: a later failure gives its tokens back, but not its place in
    /// the rate.
    pub(super) fn sent(&mut self) {
        self.user.sent();
        self.deployment.state.sent();
    }

    /// Gives the endpoint's part back and leases the next untried, available one; the user's part is kept, so a retry
    /// is charged once. `false`: there is none.
    pub(super) async fn move_on(&mut self, limits: &Limits) -> bool {
        self.lease = None;
        let shared = Arc::clone(&self.shared);
        let now = shared.unix_micros();
        let is_here = |one: &Arc<Deployment>| one.state.returns_in().is_none();
        if self.ranked.rank_again(now).is_err()
            || !self.ranked.candidates().iter().any(is_here)
            || !shared.retries.take()
        {
            return false;
        }
        let asking = Asking {
            limits,
            own: self.own,
            identity: &self.identity,
            demand: &self.demand,
            party: None,
            waits: false,
        };
        let wanted = ostia_core::Scope::is_of_endpoint;
        let leased = shared.lease(&self.ranked, &asking, wanted, WhenAway::Skip);
        match leased.await {
            Ok(leased) => self.moved(leased),
            Err(_) => return false,
        }
        true
    }

    /// Waits for an endpoint that said when it is back, for at most the queue timeout.
    pub(super) async fn come_back(&mut self, limits: &Limits) -> bool {
        let shared = Arc::clone(&self.shared);
        let asking = Asking {
            limits,
            own: self.own,
            identity: &self.identity,
            demand: &self.demand,
            party: None,
            waits: false,
        };
        let waiting = shared.after_a_rest(&mut self.ranked, &asking, &mut self.line);
        match waiting.await {
            Some(leased) => self.moved(leased),
            None => return false,
        }
        true
    }

    fn moved(&mut self, leased: Leased) {
        let (deployment, uncached) = self.ranked.take(leased.at);
        let mut place = leased.place;
        place.weigh(uncached);
        self.deployment = deployment;
        self.standing.moved_to(leased.grant.standing);
        self.lease = Some(Lease {
            hold: leased.grant.hold,
            place,
        });
    }

    /// The answer begins.
    pub(super) fn begun(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.place.read();
        }
    }

    /// The request is over: the reservation is replaced by the actual usage, and its places become free. Later calls
    /// change nothing. `usage`: `None` if it used nothing.
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

    /// The answer was complete: its usage helps to predict that of the next one.
    pub(super) fn learn(&self, usage: &Usage) {
        learn(&self.deployment.learned, &self.demand, usage);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(None);
    }
}
