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
    let by_cluster = match deployment.cluster.adapter {
        _ if !takes_requests || deployment.state.is_unreachable() => return ModelState::Stopped,
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
    let readiness = |state: &ModelState| match state {
        ModelState::Running => 0,
        ModelState::Unknown => 1,
        ModelState::Starting => 2,
        ModelState::Queued => 3,
        ModelState::Stopped => 4,
    };
    let states = deployments
        .iter()
        .map(|deployment| state_of(deployment, notices));
    states.min_by_key(readiness).unwrap_or(ModelState::Unknown)
}
