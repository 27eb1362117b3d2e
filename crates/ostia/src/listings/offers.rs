use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use ostia_core::{Identity, Location};

use super::described::Described;
use super::state::best_state;
use crate::authorize::{NoticeLookup, may_use};
use crate::catalog::{Catalog, Deployment, Serving};
use crate::fleet::ModelState;

/// A model from a user's view: what it is, whether it can answer now, and where prompts go.
#[derive(Debug, Clone)]
pub struct Offer {
    pub name: Arc<str>,
    pub display_name: Box<str>,
    pub state: ModelState,
    /// When its scheduler expects it to start, in Unix seconds.
    pub expected_start: Option<i64>,
    /// The text for users while everything that serves it is under maintenance.
    pub notice: Option<Arc<str>>,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    pub apis: BTreeSet<Box<str>>,
    pub clusters: BTreeSet<Arc<str>>,
    pub on_site: bool,
    pub external: bool,
    /// How to get access, if the caller lacks nothing else.
    pub hint: Option<String>,
}

/// What a user may use, by name, and what the user may not use but may know of, because the site says how to get
/// access.
pub fn offers(catalog: &Catalog, notices: &impl NoticeLookup, identity: &Identity) -> Vec<Offer> {
    let mut models: BTreeMap<&Arc<str>, Vec<&Arc<Deployment>>> = BTreeMap::new();
    for deployment in catalog.deployments() {
        if deployment.framework_listed() {
            models
                .entry(&deployment.model)
                .or_default()
                .push(deployment);
        }
    }
    let offer = |(name, all): (&Arc<str>, Vec<&Arc<Deployment>>)| {
        let usable: Vec<_> = all
            .iter()
            .copied()
            .filter(|one| may_use(one, identity))
            .collect();
        match usable.is_empty() {
            false => offer(name, &usable, notices, None),
            true => {
                let hint = all.iter().find_map(|one| hint(one))?;
                offer(name, &all, notices, Some(hint))
            }
        }
    };
    models.into_iter().filter_map(offer).collect()
}

fn hint(deployment: &Deployment) -> Option<String> {
    let hint = deployment.config.get("access_hint")?.as_str()?.trim();
    (!hint.is_empty()).then(|| hint.to_owned())
}

fn offer(
    name: &Arc<str>,
    deployments: &[&Arc<Deployment>],
    notices: &impl NoticeLookup,
    hint: Option<String>,
) -> Option<Offer> {
    let described = Described::of(name, deployments, notices)?;
    let notice = |one: &&&Arc<Deployment>| {
        let of_cluster = notices.notice(&one.cluster.name);
        of_cluster.or_else(|| notices.model_notice(&one.model))
    };
    let is_away = deployments.iter().all(|one| notice(&one).is_some());
    let serving = || deployments.iter().filter(|one| one.serving == Serving::Yes);
    let starts = serving().filter_map(|one| one.state.expected_start());
    Some(Offer {
        name: Arc::clone(name),
        display_name: described.display_name.clone(),
        state: best_state(deployments, notices),
        expected_start: starts.min(),
        notice: deployments
            .iter()
            .find_map(|one| notice(&one))
            .filter(|_| is_away),
        context_window: described.context_window,
        max_output_tokens: described.max_output_tokens,
        apis: described.apis().clone(),
        clusters: deployments
            .iter()
            .map(|one| Arc::clone(&one.cluster.name))
            .collect(),
        on_site: deployments
            .iter()
            .any(|one| one.location == Location::OnSite),
        external: deployments
            .iter()
            .any(|one| one.location == Location::External),
        hint,
    })
}
