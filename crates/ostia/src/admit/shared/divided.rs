use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ostia_core::{Ask, Claim, Clock, Denial, Grant, Limiter, Reserving, Return, Standing};

use crate::admit::LocalLimiter;

/// This replica's part of every limit, enforced in this process: the limit divided by the number of replicas seen last.
pub(super) struct Divided {
    counts: Arc<LocalLimiter>,
    replicas: AtomicU64,
}

impl Divided {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            counts: Arc::new(LocalLimiter::new(clock)),
            replicas: AtomicU64::new(1),
        }
    }

    pub(super) fn seen(&self, replicas: u64) {
        self.replicas.store(replicas.max(1), Ordering::Relaxed);
    }

    pub(super) fn replicas(&self) -> u64 {
        self.replicas.load(Ordering::Relaxed)
    }

    pub(super) fn decide(&self, ask: &Ask) -> Result<Grant, Denial> {
        let ask = Ask {
            claims: self.part(&ask.claims),
            cost: ask.cost,
            turn: None,
        };
        Arc::clone(&self.counts).grant(&ask)
    }

    fn part(&self, claims: &[Claim]) -> Vec<Claim> {
        let replicas = self.replicas();
        let part = |claim: &Claim| Claim {
            most: (claim.most / replicas).max(1),
            ..claim.clone()
        };
        claims.iter().map(part).collect()
    }
}

impl Limiter for Divided {
    fn reserve(self: Arc<Self>, ask: &Ask) -> Reserving {
        Reserving::Now(self.decide(ask))
    }

    fn give_back(&self, back: Return) {
        // Its grants are the counts' own.
        self.counts.give_back(back);
    }

    fn standing(&self, claims: &[Claim]) -> Standing {
        self.counts.standing(&self.part(claims))
    }
}

#[cfg(test)]
mod tests {
    use ostia_core::{Cost, ManualClock, Measure, Scope, Subject};

    use super::*;

    #[test]
    fn each_replica_holds_its_part_and_at_least_one() {
        let divided = Divided::new(Arc::new(ManualClock::at(0)));
        let ask = |most| Ask {
            claims: vec![Claim {
                scope: Scope::User,
                measure: Measure::InFlight,
                subject: Subject::One("ada".into()),
                most,
            }],
            cost: Cost::default(),
            turn: None,
        };
        divided.seen(3);
        let holds: Vec<_> = (0..9)
            .filter_map(|_| divided.decide(&ask(10)).ok())
            .collect();
        assert_eq!(holds.len(), 3);
        drop(holds);
        divided.seen(0);
        assert_eq!(divided.replicas(), 1);
        divided.seen(30);
        let holds: Vec<_> = (0..9)
            .filter_map(|_| divided.decide(&ask(10)).ok())
            .collect();
        assert_eq!(holds.len(), 1);
    }
}
