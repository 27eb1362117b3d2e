use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::health::{FAILURES, judge, prompt};
use crate::backend::Leased;
use crate::catalog::{Deployment, HealthAsk, HealthCheck};
use crate::fleet::{ModelState, Replica};
use crate::runtime::spawn;
use crate::upstream::{AskError, Reply};

/// The interval at which an engine is asked until it is well.
const SOON: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(15);

/// Checks the engines that hold leases on an endpoint: each one before it gets its first request, and regularly from
/// then on. The registrar's claim alone is not trusted.
pub(super) struct LeasedHealth {
    deployment: Arc<Deployment>,
    leased: Arc<Leased>,
    check: Option<HealthCheck>,
    limit: Duration,
    known: Mutex<HashMap<Arc<str>, Known>>,
}

struct Known {
    due: Instant,
    failures: u32,
    is_asking: bool,
}

impl LeasedHealth {
    /// `limit`: how long an engine may take.
    pub fn new(deployment: &Arc<Deployment>, leased: &Arc<Leased>, limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            deployment: Arc::clone(deployment),
            leased: Arc::clone(leased),
            check: deployment.health.clone(),
            limit,
            known: Mutex::default(),
        })
    }

    /// Starts the checks that are due.
    pub fn look(self: &Arc<Self>, now: Instant) {
        let all = self.deployment.state.leases().all();
        let mut known = self.known.lock();
        known.retain(|id, _| all.iter().any(|one| one.id == *id));
        for replica in all.iter().filter(|one| one.is_said_to_run()) {
            let check = known.entry(Arc::clone(&replica.id)).or_insert(Known {
                due: now,
                failures: 0,
                is_asking: false,
            });
            // An engine that was well before a reload keeps its next time of checking.
            if check.is_asking || now < check.due {
                continue;
            }
            check.is_asking = true;
            let (checks, replica) = (Arc::clone(self), Arc::clone(replica));
            spawn(async move { checks.ask(&replica, now).await });
        }
    }

    async fn ask(&self, replica: &Replica, began: Instant) {
        let found = self.answer(replica).await;
        let found = found.and_then(|reply| {
            let usual = HealthAsk::Path("/models".into());
            let ask = self.check.as_ref().map_or(&usual, |check| &check.ask);
            judge(ask, &self.deployment.upstream_model, &reply)
        });
        let is_well = matches!(found, Ok(ModelState::Running));
        if let Err(error) = &found {
            let endpoint = &*self.deployment.slug;
            tracing::debug!(endpoint, lease = &*replica.id, %error, "an engine is not well");
        }
        let mut known = self.known.lock();
        let Some(check) = known.get_mut(&replica.id) else {
            return;
        };
        check.is_asking = false;
        check.failures = if is_well { 0 } else { check.failures + 1 };
        // A single check may fail for any reason.
        if is_well || check.failures >= FAILURES || !replica.is_well() {
            replica.found_well(is_well);
        }
        let interval = self.check.as_ref().map_or(INTERVAL, |check| check.interval);
        check.due = began + if is_well { interval } else { SOON };
    }

    async fn answer(&self, replica: &Replica) -> Result<Reply, AskError> {
        let unusable = || AskError::Failed("its URL cannot be called".to_owned());
        let http = self.leased.http(replica, self.limit).ok_or_else(unusable)?;
        let path = |api| self.leased.path(replica, api).ok_or_else(unusable);
        match self.check.as_ref().map(|check| &check.ask) {
            None => http.get(&path("models")?).await,
            Some(HealthAsk::Path(path)) => http.get(path).await,
            Some(HealthAsk::Prompt) => {
                let prompt = prompt(&self.deployment.upstream_model);
                http.post(&path("chat/completions")?, &prompt).await
            }
        }
    }
}
