use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asked::Asked;
use super::page::Page;
use crate::authorize::NoticeLookup as _;
use crate::catalog::{Deployment, Serving};
use crate::fleet::ModelState;
use crate::gateway::Gateway;
use crate::live::Live;
use crate::rank::fault_of;
use crate::refusal::Refusal;

/// One endpoint as this process sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointReport {
    pub slug: String,
    pub cluster: String,
    pub framework: String,
    pub model: String,
    /// `served`, `draining`, `maintenance`, `failing`, `not_ready`, `on_no_route`, `disabled` or `adapter_unavailable`.
    /// If several apply, it is the last of them in this list.
    pub state: String,
    /// The reason, unless the state says it all.
    pub reason: Option<String>,
    /// The model's state, according to its cluster and to its readiness URL.
    pub model_state: String,
    pub readiness: String,
    /// Its engines, if they are found by leases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<LeaseReport>,
    pub draining: bool,
    /// Its last requests failed, so other endpoints are tried first.
    pub failing: bool,
    pub in_flight: u32,
    /// 0 means unlimited.
    pub max_in_flight: u32,
    /// The number of concurrent requests that it serves best, once that is known.
    pub best_in_flight: Option<u32>,
    pub priority: i64,
    pub weight: u32,
    /// By outcome, since the process started.
    pub requests: BTreeMap<String, u64>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// The mean over all requests since the process started.
    pub mean_duration_ms: Option<u64>,
}

/// One engine that has a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseReport {
    pub url: String,
    pub state: String,
    pub in_flight: u32,
}

/// `GET /admin/endpoints`.
pub(super) fn page(gateway: &Gateway, asked: &Asked) -> Result<Value, Refusal> {
    let live = gateway.live();
    let (cluster, model) = (asked.query("cluster"), asked.query("model"));
    let is_asked = |deployment: &&Arc<Deployment>| {
        cluster
            .as_deref()
            .is_none_or(|name| *deployment.cluster.name == *name)
            && model
                .as_deref()
                .is_none_or(|name| *deployment.model == *name)
    };
    let deployments = live.catalog.deployments().iter().filter(is_asked);
    let deployments: Vec<&Arc<Deployment>> = deployments.collect();
    let page = Page::of(
        deployments,
        asked,
        |deployment| &*deployment.slug,
        |deployment| EndpointReport::of(deployment, &live, gateway.clock().unix_micros()),
    )?;
    Ok(json!(page))
}

/// Every endpoint, by slug.
pub fn reports(gateway: &Gateway) -> Vec<EndpointReport> {
    let live = gateway.live();
    let now = gateway.clock().unix_micros();
    let all = live.catalog.deployments().iter();
    let mut reports: Vec<_> = all.map(|one| EndpointReport::of(one, &live, now)).collect();
    reports.sort_by(|one, other| one.slug.cmp(&other.slug));
    reports
}

/// `GET /admin/endpoints/{slug}`.
pub(super) fn one(gateway: &Gateway, slug: &str) -> Result<Value, Refusal> {
    let live = gateway.live();
    let deployment = find(&live, slug)?;
    Ok(json!(EndpointReport::of(
        deployment,
        &live,
        gateway.clock().unix_micros()
    )))
}

pub(super) fn find<'a>(live: &'a Live, slug: &str) -> Result<&'a Arc<Deployment>, Refusal> {
    let found = live.catalog.deployment(slug);
    found.ok_or_else(|| unknown(&format!("There is no endpoint `{}`.", slug.escape_debug())))
}

/// What a path names is not there.
pub(super) fn unknown(text: &str) -> Refusal {
    Refusal::client(StatusCode::NOT_FOUND, "not_found", text.to_owned())
}

impl EndpointReport {
    fn of(deployment: &Deployment, live: &Live, now: i64) -> Self {
        let state = &deployment.state;
        let (word, reason) = verdict(deployment, live, now);
        let requests: BTreeMap<String, u64> = state
            .outcomes()
            .map(|(outcome, count)| (outcome.as_str().to_owned(), count))
            .collect();
        let (prompt_tokens, completion_tokens) = state.tokens();
        let all: u64 = requests.values().sum();
        Self {
            slug: deployment.slug.to_string(),
            cluster: deployment.cluster.name.to_string(),
            framework: deployment.framework.to_string(),
            model: deployment.model.to_string(),
            state: word.to_owned(),
            reason,
            model_state: deployment
                .leased_state()
                .unwrap_or_else(|| state.model_state())
                .as_str()
                .to_owned(),
            leases: leases(deployment),
            readiness: state.readiness().as_str().to_owned(),
            draining: state.is_draining(),
            failing: state.is_suspect(),
            in_flight: state.in_flight(),
            max_in_flight: deployment.places(),
            best_in_flight: state.best_point().known(),
            priority: deployment.priority,
            weight: deployment.weight,
            prompt_tokens,
            completion_tokens,
            mean_duration_ms: state.duration_ms().checked_div(all),
            requests,
        }
    }

    /// Whether it can answer requests now.
    pub fn serves(&self) -> bool {
        matches!(&*self.state, "served" | "failing")
    }
}

fn leases(deployment: &Deployment) -> Vec<LeaseReport> {
    let all = deployment.state.leases().all().into_iter();
    let all = all.map(|one| LeaseReport {
        url: one.url.to_string(),
        state: one.state().map_or("over", ModelState::as_str).to_owned(),
        in_flight: one.in_flight(),
    });
    all.collect()
}

/// `now`: Unix microseconds.
fn verdict(deployment: &Deployment, live: &Live, now: i64) -> (&'static str, Option<String>) {
    let state = &deployment.state;
    match &deployment.serving {
        Serving::Disabled(why) => return ("disabled", Some(why.to_string())),
        Serving::AdapterUnavailable(name) => {
            return ("adapter_unavailable", Some(name.to_string()));
        }
        Serving::Yes => {}
    }
    if !deployment.framework_listed() {
        return ("on_no_route", None);
    }
    let notice = live.notices.notice(&deployment.cluster.name);
    if let Some(notice) = notice.or_else(|| live.notices.model_notice(&deployment.model)) {
        return ("maintenance", Some(notice.to_string()));
    }
    if state.is_draining() {
        return ("draining", None);
    }
    if let Some(fault) = fault_of(deployment, now) {
        return ("not_ready", Some(fault.to_string()));
    }
    match state.is_suspect() {
        true => ("failing", None),
        false => ("served", None),
    }
}
