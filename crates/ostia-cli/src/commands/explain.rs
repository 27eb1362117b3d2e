//! `ostia explain`: the decision of `authorize` for one user and one model, and the rule that made it.

use std::sync::Arc;

use clap::Args;
use ostia::authorize::{Broken, broken, may_use};
use ostia::catalog::{Catalog, Deployment, Scope, Serving};
use ostia::fleet::Fleet;
use ostia_core::{Clock as _, Identity, SystemClock};
use serde_json::{Value, json};

use super::load::{load, store};
use crate::arguments::Global;
use crate::failure::{Failure, chain};
use crate::output::{note, print};
use crate::runtime;

/// Without --group it shows the decision for every set of groups that the user's API keys carry, or for none.
#[derive(Debug, Args)]
pub struct Explain {
    /// Rules on domains look at what follows the @
    #[arg(long, value_name = "NAME@DOMAIN")]
    user: String,
    /// A name or an alias, as a request would have it
    #[arg(long)]
    model: String,
    /// A group that the user is in; repeatable
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,
    /// Print an array with one object for each set of groups
    #[arg(long)]
    json: bool,
}

/// One person as far as rules see them.
struct Case {
    /// Where the groups come from.
    source: String,
    identity: Identity,
}

impl Explain {
    pub fn run(&self, global: &Global) -> Result<(), Failure> {
        let loaded = load(global, None, &Fleet::default());
        let Some(settings) = &loaded.settings else {
            return Err(Failure::config(
                "the configuration has errors: `ostia check` shows all of them",
            ));
        };
        let url = settings.store.url.expose().clone();
        let cases = runtime::run(self.cases(&url))?;
        if self.json {
            let all: Vec<Value> = cases
                .iter()
                .map(|case| self.as_json(&loaded.catalog, case))
                .collect();
            return print(&format!("{}\n", Value::Array(all)));
        }
        for case in &cases {
            print(&self.as_text(&loaded.catalog, case))?;
        }
        Ok(())
    }

    async fn cases(&self, url: &str) -> Result<Vec<Case>, Failure> {
        let given: Vec<Arc<str>> = self
            .groups
            .iter()
            .map(|group| Identity::group(group).into())
            .collect();
        if !given.is_empty() {
            return Ok(vec![self.case("as given".to_owned(), given.into())]);
        }
        let keys = match store(url).await {
            Ok(store) => store.list_keys().await.map_err(|error| chain(&error)),
            Err(error) => Err(error.text().to_owned()),
        };
        let keys = keys.unwrap_or_else(|error| {
            note(&format!("warning: API keys cannot be looked at: {error}"));
            Vec::new()
        });
        let now = SystemClock.unix_micros();
        let mut cases: Vec<Case> = Vec::new();
        for key in keys {
            let over = key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= now);
            let theirs = *key.username == *self.user && !over;
            let known = cases.iter().any(|case| case.identity.groups == key.groups);
            if theirs && !known {
                cases.push(self.case(format!("of key {}", key.id), key.groups));
            }
        }
        if cases.is_empty() {
            cases.push(self.case("none given".to_owned(), Arc::default()));
        }
        Ok(cases)
    }

    fn case(&self, source: String, groups: Arc<[Arc<str>]>) -> Case {
        let identity = Identity {
            username: self.user.as_str().into(),
            domain: Identity::domain_of(&self.user),
            groups,
            ..Identity::default()
        };
        Case { source, identity }
    }

    fn as_text(&self, catalog: &Catalog, case: &Case) -> String {
        let groups = case.identity.groups.join(", ");
        let domain = case.identity.domain.as_deref().unwrap_or("none");
        let mut text = format!(
            "{} (domain: {domain}; groups {}: {})\n",
            self.user,
            case.source,
            if groups.is_empty() { "-" } else { &groups }
        );
        let found = found(catalog, &self.model);
        for deployment in &found {
            let route = format!("/{}/{}/v1", deployment.cluster.name, deployment.framework);
            let verdict = verdict(deployment, &case.identity);
            let word = if may_use(deployment, &case.identity) {
                "allowed"
            } else {
                "refused"
            };
            text.push_str(&format!("  {route}  {word}: {verdict}\n"));
            if let Serving::Disabled(reason) | Serving::AdapterUnavailable(reason) =
                &deployment.serving
            {
                text.push_str(&format!("    and takes no requests: {reason}\n"));
            }
        }
        if found.is_empty() {
            text.push_str("  no endpoint has this model: everybody is told model_not_found\n");
        }
        let everywhere = match self.everywhere(catalog, case) {
            true => "allowed",
            false => "refused with 404 model_not_found",
        };
        text.push_str(&format!("  /v1  {everywhere}\n"));
        text
    }

    fn as_json(&self, catalog: &Catalog, case: &Case) -> Value {
        let found = found(catalog, &self.model);
        let endpoints: Vec<Value> = found
            .iter()
            .map(|deployment| {
                json!({
                    "cluster": deployment.cluster.name,
                    "framework": deployment.framework,
                    "endpoint_slug": deployment.slug,
                    "model": deployment.model,
                    "allowed": may_use(deployment, &case.identity),
                    "rule": verdict(deployment, &case.identity),
                })
            })
            .collect();
        json!({
            "user": self.user, "domain": case.identity.domain, "groups": case.identity.groups, "model": self.model,
            "endpoints": endpoints, "allowed_everywhere_route": self.everywhere(catalog, case),
        })
    }

    /// Whether `/v1/{api}` has it for this user.
    fn everywhere(&self, catalog: &Catalog, case: &Case) -> bool {
        let found = catalog.lookup(Scope::Everywhere, &self.model);
        let mut deployments = found.iter().flat_map(|(_, deployments)| deployments.iter());
        deployments.any(|deployment| may_use(deployment, &case.identity))
    }
}

/// Every endpoint that the name stands for on a route of its own.
fn found(catalog: &Catalog, model: &str) -> Vec<Arc<Deployment>> {
    let mut found = Vec::new();
    for cluster in catalog.clusters() {
        for framework in &cluster.frameworks {
            let scope = Scope::Framework {
                cluster: &cluster.name,
                framework,
            };
            let here = catalog.lookup(scope, model);
            found.extend(here.into_iter().flat_map(|(_, all)| all.iter().cloned()));
        }
    }
    found
}

/// The rule that decided, in words.
fn verdict(deployment: &Deployment, identity: &Identity) -> String {
    let cluster = &deployment.cluster;
    if let Some(broken) = broken(&cluster.access, identity) {
        return format!("cluster {}: {}", cluster.name, needs(broken));
    }
    if let Some(broken) = broken(&deployment.access, identity) {
        return format!("endpoint {}: {}", deployment.slug, needs(broken));
    }
    match (cluster.access.is_open(), deployment.access.is_open()) {
        (true, true) => "no rule restricts the cluster or the endpoint".to_owned(),
        (false, true) => format!("the rules of cluster {} are met", cluster.name),
        (true, false) => format!("the rules of endpoint {} are met", deployment.slug),
        (false, false) => format!(
            "the rules of cluster {} and endpoint {} are met",
            cluster.name, deployment.slug
        ),
    }
}

fn needs(broken: Broken<'_>) -> String {
    match broken {
        Broken::Groups(groups) => {
            format!("allowed_globus_groups needs one of: {}", groups.join(", "))
        }
        Broken::Domains(domains) => format!("allowed_domains needs one of: {}", domains.join(", ")),
    }
}
