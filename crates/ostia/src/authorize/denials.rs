use std::sync::Arc;

use ostia_core::{Clock, RequestId};

use super::explained::explained;
use super::{Broken, Denied, Explained, broken, hint_for};
use crate::catalog::{Catalog, Cluster, Deployment, Scope};
use crate::identify::Principal;
use crate::telemetry::Pace;

const WHAT: [&str; 2] = ["cluster", "model"];

/// What a refused request asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    Cluster(&'a str),
    /// A model, by the name in the request, and the API that was called, if any.
    Model(Scope<'a>, &'a str, &'a str),
    /// A model of any of a cluster's frameworks.
    ModelOf(&'a str, &'a str),
}

/// Records requests for something that exists but that the caller may not use. Each is counted, and a limited number
/// per second becomes an event of target `ostia::audit`. A request for something that does not exist is not a denial;
/// the caller cannot tell the two apart.
pub struct Denials {
    paces: [Pace; WHAT.len()],
    clock: Arc<dyn Clock>,
}

/// What a rule hides from the caller.
struct Hidden<'a> {
    cluster: &'a Cluster,
    deployment: Option<&'a Deployment>,
    rule: Broken<'a>,
}

impl Denials {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            paces: Default::default(),
            clock,
        }
    }

    /// Notes a refusal and explains it to the caller, so that it fits into an error path.
    pub fn note(
        &self,
        denied: Denied,
        wanted: Wanted<'_>,
        catalog: &Catalog,
        principal: &Principal,
        id: RequestId,
    ) -> Explained {
        if let Some(hidden) = hidden(&denied, wanted, catalog, principal) {
            self.tell(&hidden, principal, id);
        }
        let denied = match hint(&denied, wanted, catalog, principal) {
            Some(hint) => Denied::ModelAccess(hint),
            None => denied,
        };
        explained(denied, wanted, catalog, principal)
    }

    /// Denials since the start, by what was asked for.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        WHAT.into_iter().zip(self.paces.iter().map(Pace::total))
    }

    fn tell(&self, hidden: &Hidden<'_>, principal: &Principal, id: RequestId) {
        let what = usize::from(hidden.deployment.is_some());
        let Some(untold) = self.paces[what].count(&*self.clock) else {
            return;
        };
        tracing::info!(
            target: "ostia::audit",
            kind = "denied",
            request_id = %id,
            what = WHAT[what],
            user_id = &*principal.user_id,
            username = &*principal.username,
            cluster = &*hidden.cluster.name,
            endpoint = hidden.deployment.map_or("", |deployment| &*deployment.slug),
            rule = match hidden.rule {
                Broken::Groups(_) => "allowed_globus_groups",
                Broken::Domains(_) => "allowed_domains",
            },
            untold,
            "refused by a rule"
        );
    }
}

fn hidden<'a>(
    denied: &Denied,
    wanted: Wanted<'_>,
    catalog: &'a Catalog,
    principal: &Principal,
) -> Option<Hidden<'a>> {
    match denied {
        Denied::ClusterNotFound => {
            let (Wanted::Cluster(name)
            | Wanted::ModelOf(name, _)
            | Wanted::Model(Scope::Framework { cluster: name, .. }, ..)) = wanted
            else {
                return None;
            };
            let cluster = catalog.cluster(name)?;
            Some(Hidden {
                rule: broken(&cluster.access, principal)?,
                cluster,
                deployment: None,
            })
        }
        Denied::ModelNotFound => {
            let mut wanted = deployments(wanted, catalog).into_iter();
            wanted.find_map(|deployment| hidden_model(deployment, principal))
        }
        _ => None,
    }
}

fn hidden_model<'a>(deployment: &'a Deployment, principal: &Principal) -> Option<Hidden<'a>> {
    let cluster = &deployment.cluster;
    let rule = broken(&cluster.access, principal).or_else(|| broken(&deployment.access, principal));
    Some(Hidden {
        cluster,
        deployment: Some(deployment),
        rule: rule?,
    })
}

/// The first hint of those that the site wrote for what the caller asked for.
fn hint(
    denied: &Denied,
    wanted: Wanted<'_>,
    catalog: &Catalog,
    principal: &Principal,
) -> Option<Arc<str>> {
    if *denied != Denied::ModelNotFound {
        return None;
    }
    let mut wanted = deployments(wanted, catalog).into_iter();
    wanted
        .find_map(|deployment| hint_for(deployment, principal))
        .cloned()
}

fn deployments<'a>(wanted: Wanted<'_>, catalog: &'a Catalog) -> Vec<&'a Deployment> {
    let is_named = |deployment: &&Arc<Deployment>, name: &str| {
        *deployment.model == *name || deployment.aliases.iter().any(|alias| **alias == *name)
    };
    let found: Vec<&Arc<Deployment>> = match wanted {
        Wanted::Cluster(_) => Vec::new(),
        Wanted::Model(scope, name, _) => {
            let found = catalog.lookup(scope, name);
            found.map_or_else(Vec::new, |(_, all)| all.iter().collect())
        }
        Wanted::ModelOf(cluster, name) => {
            let all = catalog.of_cluster(cluster).iter();
            all.filter(|deployment| is_named(deployment, name))
                .collect()
        }
    };
    found.into_iter().map(|deployment| &**deployment).collect()
}
