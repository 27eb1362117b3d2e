use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ostia_core::{Clock, Facts, Journal, JournalFull, Observer, Opening, Outcome, Phase, Receipt};

use crate::admit::{Admission, Attempt};
use crate::authorize::Permit;
use crate::dialect::Api;
use crate::identify::Principal;
use crate::listen::Inbound;
use crate::read::Call;
use crate::refusal::Refusal;

/// What every request needs to be written down.
#[derive(Clone)]
pub struct Books {
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    /// Set when the process gives up on what still runs.
    pub shutting_down: Arc<AtomicBool>,
}

/// A request that passed sign-in and has not reached a backend yet. It leaves one row: as a refusal, as a hang-up, or,
/// once [`Visit::open`] has turned it into a receipt, as that.
pub struct Visit {
    books: Books,
    opening: Option<Opening>,
    phase: Phase,
    /// When the body had been read: from then on a request can only wait for its turn.
    read: Instant,
}

impl Visit {
    pub fn begin(books: &Books, inbound: &Inbound, principal: &Principal, api: &Api) -> Self {
        let nothing: Arc<str> = "".into();
        let opening = Opening {
            request_id: inbound.id,
            client_request_id: inbound.client_request_id.clone(),
            identity: Arc::clone(principal.identity()),
            origin_ip: inbound.origin_ip,
            received: inbound.received,
            received_unix_micros: inbound.received_unix_micros,
            api: api.name(),
            stream: false,
            cluster: Arc::clone(&nothing),
            framework: Arc::clone(&nothing),
            model: Arc::clone(&nothing),
            endpoint_slug: nothing,
            request_bytes: 0,
            prompt_estimate: 0,
        };
        Self {
            books: books.clone(),
            opening: Some(opening),
            phase: Phase::ReadingBody,
            read: inbound.received,
        }
    }

    /// The body was read.
    pub fn learn(&mut self, call: &Call) {
        self.phase = Phase::Queued;
        self.read = self.books.clock.now();
        if let Some(opening) = &mut self.opening {
            opening.stream = call.stream;
            opening.request_bytes = call.body.len() as u64;
            opening.prompt_estimate = call.prompt_estimate;
        }
    }

    /// The model exists for this caller, and the cluster if the path named one. Before that their names are only what
    /// somebody typed, and are not written down.
    pub fn found(&mut self, permit: &Permit) {
        let Some(opening) = &mut self.opening else {
            return;
        };
        opening.model = Arc::clone(permit.model());
        let places = [
            (&mut opening.cluster, permit.shared(|one| &one.cluster.name)),
            (&mut opening.framework, permit.shared(|one| &one.framework)),
            (&mut opening.endpoint_slug, permit.shared(|one| &one.slug)),
        ];
        for (place, shared) in places {
            if let Some(name) = shared {
                *place = Arc::clone(name);
            }
        }
    }

    /// Writes the row of a refusal. Where the client has gone, nobody was refused: that row is written on drop.
    pub fn refused(mut self, refusal: Refusal) -> Refusal {
        if refusal.outcome == Outcome::ClientClosed {
            return refusal;
        }
        let facts = Facts {
            http_status: refusal.status.as_u16(),
            error_code: refusal.code.clone(),
            phase: self.phase,
            ..Facts::default()
        };
        self.write(&facts, refusal.outcome);
        refusal
    }

    /// Writes the `started` record: from here on the request may reach a backend.
    pub fn open(mut self, admission: Admission) -> Result<Attempt, JournalFull> {
        let deployment = admission.deployment();
        let Some(mut opening) = self.opening.take() else {
            return Err(JournalFull);
        };
        opening.cluster = Arc::clone(&deployment.cluster.name);
        opening.framework = Arc::clone(&deployment.framework);
        opening.endpoint_slug = Arc::clone(&deployment.slug);
        let mut receipt = Receipt::open(
            &*self.books.journal,
            Arc::clone(&self.books.clock),
            Arc::clone(&self.books.shutting_down),
            Some(Arc::clone(&deployment.state) as Arc<dyn Observer>),
            opening,
        )?;
        receipt.facts.queued = self.books.clock.now().saturating_duration_since(self.read);
        Ok(admission.recorded(receipt))
    }

    fn write(&mut self, facts: &Facts, outcome: Outcome) {
        if let Some(opening) = self.opening.take() {
            let row = opening.row(facts, outcome, self.books.clock.now());
            self.books.journal.rejected(&row);
        }
    }
}

/// The client went away before anything was decided.
impl Drop for Visit {
    fn drop(&mut self) {
        let facts = Facts {
            phase: self.phase,
            ..Facts::default()
        };
        let outcome = Outcome::unfinished(self.books.shutting_down.load(Ordering::Relaxed));
        self.write(&facts, outcome);
    }
}
