use std::cmp::Reverse;
use std::sync::Arc;

use crate::authorize::Permit;
use crate::catalog::{Deployment, Serving};

/// So many failures in a row move an endpoint behind its peers.
const SUSPECT_AFTER: u32 = 5;

/// Endpoints in order of preference. Only [`rank`] makes one, and it is never empty.
#[derive(Debug)]
pub struct Ranked {
    candidates: Vec<Arc<Deployment>>,
}

/// Why none of the permitted endpoints takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServing {
    #[error("the endpoint's entry has a fault")]
    Disabled,
    #[error("the endpoint's adapter is not served by this version")]
    AdapterUnavailable,
    #[error("every endpoint is draining")]
    NoneReady,
}

/// Lower `priority` first, endpoints that failed lately behind their peers, then the least loaded for its weight.
pub fn rank(permit: Permit) -> Result<Ranked, NotServing> {
    let mut candidates = permit.into_deployments();
    let fault = candidates.first().map(|first| fault_of(first));
    candidates.retain(|deployment| fault_of(deployment).is_none());
    if candidates.is_empty() {
        return Err(fault.flatten().unwrap_or(NotServing::NoneReady));
    }
    if candidates.len() > 1 {
        candidates.sort_by_cached_key(|deployment| preference(deployment));
    }
    Ok(Ranked { candidates })
}

impl Ranked {
    pub fn into_candidates(self) -> Vec<Arc<Deployment>> {
        self.candidates
    }
}

fn fault_of(deployment: &Deployment) -> Option<NotServing> {
    match &deployment.serving {
        Serving::Disabled(_) => Some(NotServing::Disabled),
        Serving::AdapterUnavailable(_) => Some(NotServing::AdapterUnavailable),
        Serving::Yes if deployment.state.is_draining() => Some(NotServing::NoneReady),
        Serving::Yes => None,
    }
}

fn preference(deployment: &Deployment) -> (i64, bool, u64, Reverse<u32>) {
    let suspect = deployment.state.consecutive_failures() >= SUSPECT_AFTER;
    let weight = u64::from(deployment.weight.max(1));
    let load = (u64::from(deployment.state.in_flight()) + 1) * 1_000 / weight;
    (
        deployment.priority,
        suspect,
        load,
        Reverse(deployment.weight),
    )
}
