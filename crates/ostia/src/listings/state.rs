use std::sync::Arc;

use crate::authorize::NoticeLookup;
use crate::catalog::{ClusterAdapterName, Deployment, Serving};
use crate::fleet::ModelState;

/// What a list says of a deployment. If it is disabled or its cluster is under maintenance, it is stopped. Without a
/// scheduler to ask, it is running, unless a check says otherwise or nobody can reach it.
pub(super) fn state_of(deployment: &Deployment, notices: &impl NoticeLookup) -> ModelState {
    let takes_requests = deployment.serving == Serving::Yes
        && notices.notice(&deployment.cluster.name).is_none()
        && notices.model_notice(&deployment.model).is_none();
    if !takes_requests {
        return ModelState::Stopped;
    }
    if let Some(leased) = deployment.leased_state() {
        return leased;
    }
    let by_cluster = match deployment.cluster.adapter {
        _ if deployment.state.is_unreachable() => return ModelState::Stopped,
        ClusterAdapterName::Static | ClusterAdapterName::Unavailable(_) => ModelState::Running,
        _ => deployment.state.model_state(),
    };
    let readiness = match deployment.is_watched() {
        true => deployment.state.readiness(),
        false => ModelState::Unknown,
    };
    match (by_cluster, readiness) {
        (by_cluster, ModelState::Unknown) => by_cluster,
        (ModelState::Unknown | ModelState::Running, readiness) => readiness,
        (waits, _) => waits,
    }
}

/// A model is in the state of its readiest deployment.
pub(super) fn best_state(
    deployments: &[&Arc<Deployment>],
    notices: &impl NoticeLookup,
) -> ModelState {
    let states = deployments
        .iter()
        .map(|deployment| state_of(deployment, notices));
    states
        .min_by_key(|state| state.distance())
        .unwrap_or(ModelState::Unknown)
}
