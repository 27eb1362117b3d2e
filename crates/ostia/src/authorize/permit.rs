use std::sync::Arc;

use super::{may_see, may_use};
use crate::catalog::{Cluster, Deployment};
use crate::identify::Principal;
use crate::ownership::Responses;
use crate::resolve::{Pool, ResolvedScope};

/// The deployments that a caller may use for a call. Only [`authorize`] makes one, and it is never empty.
#[derive(Debug)]
pub struct Permit {
    model: Arc<str>,
    deployments: Vec<Arc<Deployment>>,
    /// Stand-ins, in this order.
    fallbacks: Vec<Self>,
}

/// Why there is no permit, in the order in which callers are told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It does not exist, or the caller may not know of it.
    #[error("cluster not found")]
    ClusterNotFound,
    #[error("cluster under maintenance: {0}")]
    Maintenance(Arc<str>),
    #[error("framework not supported")]
    UnsupportedFramework,
    #[error("api not supported")]
    UnsupportedApi,
    /// It does not exist, or the caller may not know of it.
    #[error("model not found")]
    ModelNotFound,
}

/// Tells which clusters and models are under maintenance, and the message for their users.
pub trait NoticeLookup {
    /// Of a cluster, or of everything.
    fn notice(&self, cluster: &str) -> Option<Arc<str>>;

    fn model_notice(&self, model: &str) -> Option<Arc<str>>;
}

/// Keeps the deployments that the caller may use. Refusals come in the contract's order: cluster, maintenance,
/// framework, api, model.
pub fn authorize(
    principal: &Principal,
    pool: Pool,
    notices: &impl NoticeLookup,
) -> Result<Permit, Denied> {
    match &pool.scope {
        ResolvedScope::Everywhere => everywhere(principal, pool, notices),
        ResolvedScope::Named { cluster: None, .. } => Err(Denied::ClusterNotFound),
        ResolvedScope::Named {
            cluster: Some(cluster),
            has_framework,
        } => {
            check_cluster(
                principal,
                cluster,
                *has_framework,
                pool.api.as_str(),
                notices,
            )?;
            let deployments = permitted(principal, pool.deployments);
            open_model(permit(pool.model, deployments)?, notices)
        }
    }
}

fn check_cluster(
    principal: &Principal,
    cluster: &Cluster,
    has_framework: bool,
    api: &str,
    notices: &impl NoticeLookup,
) -> Result<(), Denied> {
    if !may_see(cluster, principal) {
        return Err(Denied::ClusterNotFound);
    }
    if let Some(text) = notices.notice(&cluster.name) {
        return Err(Denied::Maintenance(text));
    }
    if !has_framework {
        return Err(Denied::UnsupportedFramework);
    }
    if !cluster.serves_api(api) {
        return Err(Denied::UnsupportedApi);
    }
    Ok(())
}

/// On routes without a cluster only permitted deployments count, so that a caller cannot tell forbidden ones from
/// absent ones.
fn everywhere(
    principal: &Principal,
    pool: Pool,
    notices: &impl NoticeLookup,
) -> Result<Permit, Denied> {
    let mut deployments = permitted(principal, pool.deployments);
    if deployments.is_empty() {
        return Err(Denied::ModelNotFound);
    }
    deployments.retain(|deployment| deployment.cluster.serves_api(pool.api.as_str()));
    if deployments.is_empty() {
        return Err(Denied::UnsupportedApi);
    }
    let mut first_notice = None;
    deployments.retain(|deployment| {
        let notice = notices.notice(&deployment.cluster.name);
        let open = notice.is_none();
        first_notice = first_notice.take().or(notice);
        open
    });
    match first_notice {
        Some(text) if deployments.is_empty() => Err(Denied::Maintenance(text)),
        _ => open_model(permit(pool.model, deployments)?, notices),
    }
}

/// Only users who may use a model are told about its maintenance.
fn open_model(permit: Permit, notices: &impl NoticeLookup) -> Result<Permit, Denied> {
    match notices.model_notice(&permit.model) {
        Some(text) => Err(Denied::Maintenance(text)),
        None => Ok(permit),
    }
}

fn permitted(principal: &Principal, mut deployments: Vec<Arc<Deployment>>) -> Vec<Arc<Deployment>> {
    deployments.retain(|deployment| may_use(deployment, principal));
    deployments
}

fn permit(model: Arc<str>, deployments: Vec<Arc<Deployment>>) -> Result<Permit, Denied> {
    if deployments.is_empty() {
        return Err(Denied::ModelNotFound);
    }
    Ok(Permit {
        model,
        deployments,
        fallbacks: Vec::new(),
    })
}

impl Permit {
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// The value of `of` (the cluster's name, the framework, the slug) if it is the same for all deployments.
    pub fn shared<'a, T: PartialEq>(&'a self, of: impl Fn(&'a Deployment) -> T) -> Option<T> {
        let mut all = self.deployments.iter().map(|deployment| of(deployment));
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    /// Restricts a call that continues a response to the endpoint that made the response for the same caller. Nobody
    /// else may continue it, and no other endpoint knows it.
    pub fn continuing(
        self,
        previous: Option<&str>,
        principal: &Principal,
        made: &Responses,
    ) -> Option<Self> {
        let Some(previous) = previous else {
            return Some(self);
        };
        let endpoint = made.endpoint_of(previous, &principal.user_id)?;
        self.without(|deployment| deployment.slug != endpoint)
    }

    /// Leaves out deployments that are useless for the call; `None` if none of the model's own is left.
    pub fn without(mut self, mut is_of_no_use: impl FnMut(&Deployment) -> bool) -> Option<Self> {
        let fallbacks = self.fallbacks.iter_mut();
        let tiers = fallbacks.map(|fallback| &mut fallback.deployments);
        for tier in std::iter::once(&mut self.deployments).chain(tiers) {
            tier.retain(|deployment| !is_of_no_use(deployment));
        }
        (!self.deployments.is_empty()).then_some(self)
    }

    /// The deployments of the model, then those of each stand-in.
    pub fn tiers(&self) -> impl Iterator<Item = &[Arc<Deployment>]> {
        let fallbacks = self.fallbacks.iter().map(Self::deployments);
        std::iter::once(self.deployments()).chain(fallbacks)
    }

    pub(super) fn add_fallback(&mut self, fallback: Self) {
        self.fallbacks.push(fallback);
    }

    pub(super) fn keep(&mut self, keep: impl FnMut(&Arc<Deployment>) -> bool) {
        self.deployments.retain(keep);
    }

    /// At least one.
    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.deployments
    }
}
