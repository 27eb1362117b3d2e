//! A replica with one endpoint, and requests of its users.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Class, Identity, Location, Usage, UsageSource};
use serde_json::Value;

use crate::admit::limits::limits_off;
use crate::admit::{Admission, Admitter, Entry, Refused, own_limits};
use crate::authorize::{NoticeLookup, authorize};
use crate::catalog::{
    Access, AgentOptions, BodyPolicy, Catalog, Cluster, ClusterAdapterName, Deployment, HttpUrl,
    Places, Profile, Scheduler, Scope, Serving, Target, Timeouts, slug,
};
use crate::dialect::Api;
use crate::fleet::Fleet;
use crate::identify::Principal;
use crate::rank::{Trail, rank};
use crate::read::Demand;
use crate::resolve::resolve;
use crate::routes::Address;
use crate::settings::Limits;

const API: &str = "chat/completions";
const PROMPT: u64 = 100;

pub(super) struct Site {
    pub(super) admitter: Admitter,
    catalog: Catalog,
    fleet: Arc<Fleet>,
    limits: Limits,
}

struct Unsaid;

impl NoticeLookup for Unsaid {
    fn notice(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn model_notice(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}

impl Site {
    pub(super) fn new(admitter: Admitter, places: u32) -> Self {
        let fleet = Arc::new(Fleet::default());
        let cluster = cluster();
        let deployment = deployment(&fleet, &cluster, places);
        Self {
            admitter,
            catalog: Catalog::build(vec![cluster], vec![deployment], &Default::default(), false),
            fleet,
            limits: Limits {
                queue_timeout: Duration::from_secs(3_000),
                ..limits_off()
            },
        }
    }

    pub(super) async fn enter(&self, principal: &Principal) -> Result<Box<Admission>, Refused> {
        let address = Address {
            scope: Scope::Everywhere,
            api: Api::parse(API),
            model: None,
        };
        let pool = resolve(&self.catalog, &address, "m");
        let permit = authorize(principal, pool, &Unsaid).unwrap();
        let trail = Trail::default();
        let ranked = rank(permit, &Default::default(), trail, &self.fleet, 0).unwrap();
        let demand = Demand {
            api: API.into(),
            prompt: PROMPT,
            choices: 1,
            ..Demand::default()
        };
        let entry = Entry {
            principal,
            limits: &self.limits,
            own: &own_limits(&self.limits, principal.identity()),
            demand: &demand,
            class: Class::Interactive,
        };
        self.admitter.enter(ranked, entry).await
    }
}

pub(super) fn user(name: &str) -> Principal {
    Principal::of_a_test(Identity {
        user_id: name.into(),
        ..Identity::default()
    })
}

/// Of an answer of so many tokens.
pub(super) fn usage(output: u64) -> Usage {
    Usage {
        prompt_tokens: PROMPT,
        completion_tokens: output,
        total_tokens: PROMPT + output,
        source: UsageSource::Upstream,
        ..Usage::default()
    }
}

/// The answer is over.
pub(super) fn settle(mut admission: Box<Admission>, output: u64) {
    let usage = usage(output);
    admission.learn(&usage);
    admission.settle(Some(&usage));
}

fn cluster() -> Arc<Cluster> {
    Arc::new(Cluster {
        name: "c".into(),
        frameworks: vec!["f".into()],
        openai_endpoints: vec![API.into()],
        access: Access::default(),
        adapter: ClusterAdapterName::Static,
        status: None,
        patience: Duration::ZERO,
        scheduler: Scheduler::default(),
        config: Value::Null,
    })
}

fn deployment(fleet: &Fleet, cluster: &Arc<Cluster>, places: u32) -> Deployment {
    let slug: Arc<str> = slug(&cluster.name, "f", "m").into();
    let origin = HttpUrl::parse("http://127.0.0.1").unwrap().origin;
    Deployment {
        index: 0,
        state: fleet.endpoint(&slug),
        learned: Default::default(),
        slug,
        cluster: Arc::clone(cluster),
        framework: "f".into(),
        model: "m".into(),
        upstream_model: "m".into(),
        aliases: Vec::new(),
        access: Access::default(),
        access_hint: None,
        tpm_model: 0,
        tpm_user: 0,
        max_in_flight: Places::Fixed(places),
        in_flight_per_user: 0,
        priority: 0,
        weight: 1,
        federated: true,
        fallback_models: Vec::new(),
        kind: "direct_api".into(),
        hooks: None,
        secrets: Default::default(),
        require_running: false,
        require_listed: false,
        readiness_url: None,
        health: None,
        register: None,
        wait_for_start: None,
        target: Target::plain(origin, Timeouts::default()),
        isolation: Default::default(),
        policy: BodyPolicy::default(),
        profile: Profile::default(),
        agents: AgentOptions::default(),
        location: Location::OnSite,
        config: Value::Null,
        serving: Serving::Yes,
    }
}
