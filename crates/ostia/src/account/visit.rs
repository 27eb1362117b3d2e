use std::sync::Arc;
use std::time::Duration;

use ostia_core::{
    Arrival, Books, Class, HeadSent, JournalFull, Observer, Opening, Outcome, Outlasting, Place,
};

use crate::admit::{Admission, Attempt, place_of};
use crate::authorize::{Permit, entry_group};
use crate::dialect::Api;
use crate::identify::Principal;
use crate::listen::Inbound;
use crate::read::Call;
use crate::refusal::Refusal;

/// A request that passed sign-in and has not reached a backend yet. It leaves one row: of its refusal, of a hang-up if
/// it is dropped, or, after [`Visit::open`], the row of the receipt.
pub struct Visit(Opening);

impl Visit {
    /// `head_sent`: whether the client got a head before the outcome was known; `outlasting`: whether the request goes on
    /// without its client.
    pub fn begin(
        books: &Books,
        inbound: &Inbound,
        principal: &Principal,
        api: &Api,
        (head_sent, outlasting): (&HeadSent, &Outlasting),
    ) -> Self {
        let arrival = Arrival {
            client_request_id: inbound.client_request_id.clone(),
            identity: Arc::clone(principal.identity()),
            origin_ip: inbound.origin_ip,
            api: api.name(),
            head_sent: head_sent.clone(),
            outlasting: outlasting.clone(),
            ..Arrival::new(inbound.id, inbound.received, inbound.received_unix_micros)
        };
        Self(Opening::begin(books.clone(), arrival))
    }

    /// Sets how long the request may wait.
    pub fn classed(&mut self, class: Class) {
        self.0.classed(class);
    }

    /// The body was read.
    pub fn learn(&mut self, call: &Call) {
        let bytes = call.body.len() as u64;
        let runs_a_model = call.api.runs_a_model();
        let prompt_estimate = runs_a_model.then_some(call.prompt_estimate);
        self.0.read(call.stream, bytes, prompt_estimate);
    }

    /// The model exists for this caller, and so does the cluster if the path names one. Before this call their names
    /// are only what the caller sent, and are not recorded.
    pub fn found(&mut self, permit: &Permit) {
        let who = self.0.identity();
        let place = Place {
            cluster: certain(permit.shared(|one| &one.cluster.name)),
            framework: certain(permit.shared(|one| &one.framework)),
            endpoint_slug: certain(permit.shared(|one| &one.slug)),
            group_id: certain(permit.shared(|one| entry_group(one, who)).flatten()),
            ..Place::default()
        };
        self.0.found(permit.model(), place);
    }

    /// From now on it waits for its turn.
    pub fn waits(&mut self) {
        self.0.waits();
    }

    /// It has waited, if it had to.
    pub fn waited(&mut self, time: Option<Duration>) {
        self.0.waited(time.unwrap_or_default());
    }

    /// Writes the row of a refusal. If the client has gone, nobody was refused; that row is written on drop.
    pub fn refused(self, refusal: Refusal) -> Refusal {
        if refusal.outcome != Outcome::ClientClosed {
            let status = refusal.status.as_u16();
            self.0
                .refused(refusal.outcome, status, refusal.code.clone());
        }
        refusal
    }

    /// Writes the `started` record: from here on the request may reach a backend.
    ///
    /// # Errors
    ///
    /// The journal has no room, or its disk does not answer. The row says so.
    pub async fn open(self, admission: Box<Admission>) -> Result<Attempt, Refusal> {
        let deployment = admission.deployment();
        let place = place_of(deployment, self.0.identity());
        let observer = Arc::clone(&deployment.state) as Arc<dyn Observer>;
        match self.0.open(place, observer).await {
            Ok(receipt) => Ok(admission.recorded(receipt)),
            Err(opening) => Err(Self(opening).refused(JournalFull.into())),
        }
    }
}

fn certain(name: Option<&Arc<str>>) -> Arc<str> {
    name.map_or_else(Arc::default, Arc::clone)
}
