//! A limiter that is far away: it answers when a test lets it, or never.

use std::future::pending;
use std::sync::Arc;

use ostia::admit::LocalLimiter;
use ostia_core::{Ask, Claim, Limiter, Reserving, Return, Standing};
use tokio::sync::oneshot;

use crate::gate::Gate;

/// Counts as a local one does, once its gate lets an answer through. The answer is made whether or not anybody still waits
/// for it, as on another machine.
pub struct FarLimiter {
    counts: Arc<LocalLimiter>,
    gate: Option<Gate>,
}

impl FarLimiter {
    /// Answers behind `gate`; `None`: never.
    pub fn new(counts: Arc<LocalLimiter>, gate: Option<Gate>) -> Self {
        Self { counts, gate }
    }
}

impl Limiter for FarLimiter {
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving {
        let Some(gate) = self.gate.clone() else {
            return Reserving::Later(Box::pin(pending()));
        };
        let (answer, answered) = oneshot::channel();
        let ask = ask.clone();
        let counts = Arc::clone(&self.counts);
        let answering = async move {
            gate.pass().await;
            if let Reserving::Now(found) = counts.reserve(&ask) {
                // Whoever asked may have gone: then the grant is dropped here.
                let _ = answer.send(found);
            }
        };
        ostia::runtime::spawn(answering);
        Reserving::Later(Box::pin(async { answered.await.expect("an answer") }))
    }

    fn give_back(&self, back: Return) {
        self.counts.give_back(back);
    }

    fn standing(&self, claims: &[Claim]) -> Standing {
        self.counts.standing(claims)
    }
}
