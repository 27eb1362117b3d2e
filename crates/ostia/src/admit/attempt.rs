use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Identity, Observer, Place, Receipt, Standing, UsageSource};

use super::Admission;
use crate::authorize::entry_group;
use crate::catalog::Deployment;
use crate::settings::Limits;

/// One request on its way to one endpoint. It holds the lease, the receipt and the standing to the end.
///
/// However it ends, [`Attempt::close`] or `Drop` closes the receipt and settles everything reserved.
pub struct Attempt(Box<Parts>);

/// Boxed, because an attempt is handed on many times.
struct Parts {
    receipt: Receipt,
    admission: Box<Admission>,
}

/// A failed attempt that no other follows. The caller is told with [`Unanswered::close`].
pub struct Unanswered(Attempt);

impl Attempt {
    pub(super) fn new(admission: Box<Admission>, receipt: Receipt) -> Self {
        Self(Box::new(Parts { receipt, admission }))
    }

    pub fn deployment(&self) -> &Arc<Deployment> {
        self.0.admission.deployment()
    }

    /// The model that stands in for the one that was asked for, if it is another one.
    pub fn stand_in(&self) -> Option<&str> {
        let served = &*self.deployment().model;
        (*served != **self.0.admission.ranked.model()).then_some(served)
    }

    pub fn standing(&self) -> &Standing {
        self.0.admission.standing()
    }

    /// How long the request waited for its turn, if it had to.
    pub fn waited(&self) -> Option<Duration> {
        self.0.admission.line.waited
    }

    pub fn receipt(&self) -> &Receipt {
        &self.0.receipt
    }

    pub fn receipt_mut(&mut self) -> &mut Receipt {
        &mut self.0.receipt
    }

    /// The request is sent to the backend now.
    pub fn sent(&mut self) {
        self.0.admission.sent();
    }

    /// The next attempt, on an untried endpoint. Or the end, if a retry is not safe, no retry is left or no other
    /// endpoint has room. The failed endpoint's limits get their share back; the user is charged once.
    pub async fn failed(mut self, retry_safe: bool, limits: &Limits) -> Result<Self, Unanswered> {
        if !retry_safe {
            return Err(Unanswered(self));
        }
        let failed = Arc::clone(&self.deployment().state);
        failed.unreached();
        if !self.0.admission.move_on(limits).await {
            return match self.come_back(limits).await {
                Ok(next) => Ok(next),
                Err(last) => Err(Unanswered(last)),
            };
        }
        // Otherwise the row of the whole request counts it.
        failed.failed();
        Ok(self.moved())
    }

    /// The endpoint answered that it takes no requests for now, and perhaps for how long. Returns the next attempt on
    /// another endpoint, if there is one.
    pub async fn turned_away(
        mut self,
        named: Option<Duration>,
        limits: &Limits,
    ) -> Result<Self, Self> {
        self.deployment().state.turned_away(named);
        match self.0.admission.move_on(limits).await {
            true => Ok(self.moved()),
            false => Err(self),
        }
    }

    /// Waits until an endpoint that refused is back, if that is soon enough. Returns the next attempt, or this one
    /// unchanged.
    pub async fn come_back(mut self, limits: &Limits) -> Result<Self, Self> {
        let phase = self.0.receipt.phase();
        self.0.receipt.waits();
        let before = self.0.admission.line.waited;
        let is_back = self.0.admission.come_back(limits).await;
        let waited = self.0.admission.line.waited.unwrap_or_default();
        self.0
            .receipt
            .waited(waited.saturating_sub(before.unwrap_or_default()));
        match is_back {
            true => Ok(self.moved()),
            false => {
                self.0.receipt.reached(phase);
                Err(self)
            }
        }
    }

    fn moved(mut self) -> Self {
        let deployment = self.0.admission.deployment();
        let place = place_of(deployment, self.0.receipt.identity());
        let observer = Arc::clone(&deployment.state) as Arc<dyn Observer>;
        self.0.receipt.moved_to(place, observer);
        self
    }

    /// The answer begins.
    pub fn begun(&mut self) {
        self.0.admission.begun();
    }

    /// No backend has responded, and none will.
    pub fn unanswered(self) -> Unanswered {
        Unanswered(self)
    }

    pub fn is_closed(&self) -> bool {
        self.0.receipt.is_closed()
    }

    /// Writes the outcome and settles the reservation with what was used. A second call has no effect.
    pub fn close(&mut self, outcome: ostia_core::Outcome) {
        if !self.0.receipt.is_closed() {
            self.0.receipt.close(outcome);
            if outcome == ostia_core::Outcome::Ok {
                self.0.admission.learn(&self.0.receipt.usage());
            }
            self.settle();
        }
    }

    fn settle(&mut self) {
        let usage = self.0.receipt.usage();
        let used = (usage.source != UsageSource::None).then_some(&usage);
        self.0.admission.settle(used);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.0.receipt.is_closed() {
            self.0.receipt.abandon();
            self.settle();
        }
    }
}

impl Unanswered {
    pub fn standing(&self) -> &Standing {
        self.0.standing()
    }

    pub fn deployment(&self) -> &Arc<Deployment> {
        self.0.deployment()
    }

    pub fn waited(&self) -> Option<Duration> {
        self.0.waited()
    }

    /// Records what the caller is told. The caller may be told once this is over.
    pub async fn close(
        mut self,
        status: u16,
        code: std::borrow::Cow<'static, str>,
        outcome: ostia_core::Outcome,
    ) {
        self.0.0.receipt.told(status);
        self.0.0.receipt.code(code);
        self.0.close(outcome);
        self.0.0.receipt.settled().await;
    }
}

/// What a row says about where a request goes, and which of the caller's groups let it in.
pub(crate) fn place_of(deployment: &Deployment, who: &Identity) -> Place {
    Place {
        cluster: Arc::clone(&deployment.cluster.name),
        framework: Arc::clone(&deployment.framework),
        endpoint_slug: Arc::clone(&deployment.slug),
        group_id: entry_group(deployment, who).map_or_else(Arc::default, Arc::clone),
        location: deployment.location,
        served_model: Arc::clone(&deployment.model),
        bills_to_end: deployment.target.bills_to_end,
    }
}
