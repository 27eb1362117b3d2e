//! `/health/ready`: whether this process should get requests.

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::gateway::{Gateway, json_answer};
use crate::listen::Stage;
use crate::relay::ClientBody;

/// If the store takes longer than this to answer, it counts as down.
const PATIENCE: Duration = Duration::from_secs(2);

/// The facts that decide readiness.
pub(super) struct Readiness {
    draining: bool,
    journal_up: bool,
    store_up: bool,
    /// The store answered at least once since the start.
    store_reached: bool,
    /// Limits are enforced over all replicas, if they are configured to be shared.
    limits_up: bool,
    /// Names of background tasks that panicked and wait to be restarted.
    failing: Vec<&'static str>,
    /// The number of times that the configuration was loaded and put to use.
    generation: u64,
    /// Why the files as they are now are not in use.
    reload_fault: Option<String>,
}

/// Asks the store, and reads everything else from memory.
pub(super) async fn readiness(gateway: &Gateway) -> Readiness {
    let ping = tokio::time::timeout(PATIENCE, gateway.ping_store()).await;
    let stats = gateway.ledger().stats();
    let failing = gateway.duties().report().into_iter();
    Readiness {
        draining: gateway.drain().stage() != Stage::Serving,
        journal_up: !stats.journal_down,
        store_up: matches!(ping, Ok(Ok(()))) && !stats.store_down,
        store_reached: gateway.store_reached(),
        limits_up: !gateway.admitter().is_degraded(),
        failing: failing
            .filter(|duty| duty.failing)
            .map(|duty| duty.name)
            .collect(),
        generation: gateway.live().generation,
        reload_fault: gateway.reloads().fault(),
    }
}

impl Readiness {
    /// Answers 503 while the process should not get new requests. If something failed only after the start, the status
    /// is `degraded`, with 200, or with 503 if `strict`: requests are still served, and the journal keeps their rows.
    pub(super) fn answer(&self, strict: bool) -> Response<ClientBody> {
        let status = match self.word() {
            "ok" => StatusCode::OK,
            "degraded" if !strict => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        json_answer(status, &self.report())
    }

    fn word(&self) -> &'static str {
        if self.draining || !self.journal_up || !self.store_reached {
            "unavailable"
        } else if !self.store_up
            || !self.limits_up
            || !self.failing.is_empty()
            || self.reload_fault.is_some()
        {
            "degraded"
        } else {
            "ok"
        }
    }

    pub(super) fn report(&self) -> Value {
        json!({
            "status": self.word(),
            "db": up(self.store_up),
            "journal": up(self.journal_up),
            "limits": up(self.limits_up),
            "draining": self.draining,
            "failing": self.failing,
            "generation": self.generation,
            "reload": match &self.reload_fault {
                None => json!("served"),
                Some(fault) => json!({"refused": fault}),
            },
        })
    }
}

fn up(is_up: bool) -> &'static str {
    if is_up { "up" } else { "down" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(readiness: &Readiness) -> (u16, u16) {
        let status = |strict| readiness.answer(strict).status().as_u16();
        (status(false), status(true))
    }

    #[test]
    fn a_loss_after_the_start_degrades_and_one_before_it_refuses() {
        let whole = Readiness {
            draining: false,
            journal_up: true,
            store_up: true,
            store_reached: true,
            limits_up: true,
            failing: Vec::new(),
            generation: 1,
            reload_fault: None,
        };
        assert_eq!(statuses(&whole), (200, 200));
        let alone = Readiness {
            limits_up: false,
            failing: Vec::new(),
            reload_fault: None,
            ..whole
        };
        assert_eq!(statuses(&alone), (200, 503));
        let whole = Readiness {
            limits_up: true,
            ..alone
        };
        let lost = Readiness {
            store_up: false,
            ..whole
        };
        assert_eq!(statuses(&lost), (200, 503));
        let resting = Readiness {
            store_up: true,
            failing: vec!["clusters"],
            ..lost
        };
        assert_eq!(statuses(&resting), (200, 503));
        let refused = Readiness {
            failing: Vec::new(),
            reload_fault: Some("ostia.toml:1:1: error: `x`".to_owned()),
            ..resting
        };
        assert_eq!(statuses(&refused), (200, 503));
        let never = Readiness {
            store_up: false,
            store_reached: false,
            ..refused
        };
        assert_eq!(statuses(&never), (503, 503));
        let draining = Readiness {
            draining: true,
            store_up: true,
            store_reached: true,
            failing: Vec::new(),
            ..never
        };
        assert_eq!(statuses(&draining), (503, 503));
        let unwritable = Readiness {
            draining: false,
            journal_up: false,
            ..draining
        };
        assert_eq!(statuses(&unwritable), (503, 503));
    }
}
