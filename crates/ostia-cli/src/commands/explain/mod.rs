//! `ostia explain`: whether a user may use a model, which rule decides, and what else stands in the way.

mod around;
mod person;
mod ranks;

use std::sync::Arc;

use clap::Args;
use ostia::authorize::{Broken, broken, hint_for, may_use};
use ostia::catalog::{Catalog, Deployment, Scope, Serving};
use ostia::fleet::Fleet;
use ostia_core::Identity;
use serde_json::{Value, json};

use super::load::{load, unsound};
use crate::arguments::{Setup, person};
use crate::failure::Failure;
use crate::output::print;
use crate::runtime;
use around::Around;
use person::{Case, Person};
use ranks::Ranks;

/// Without --group, shows the decision for each set of groups that the user's active API keys have, or for no group.
#[derive(Debug, Args)]
pub struct Explain {
    /// Domain rules apply to the part after the @
    #[arg(long, value_name = "NAME@DOMAIN", value_parser = person)]
    user: String,
    /// A name or an alias, as in a request
    #[arg(long)]
    model: String,
    /// A group that the user is in; repeatable
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,
    /// Print an array with one object for each set of groups
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let loaded = load(setup, None, &Fleet::default());
        let Some(settings) = &loaded.settings else {
            return Err(unsound());
        };
        let catalog = &loaded.catalog;
        let found = catalog.named(&self.model);
        let (person, around) = runtime::run(async {
            let person = Person::find(&self.user, settings.store.url.expose()).await;
            Ok((person, Around::look(settings, &self.user).await))
        })?;
        let cases = person.cases(&self.user, &self.groups);
        if self.json {
            let as_json = |case: &Case| self.as_json(catalog, &found, case, &person, &around);
            let all: Vec<Value> = cases.iter().map(as_json).collect();
            return print(&format!("{}\n", Value::Array(all)));
        }
        let mut text = String::new();
        for case in &cases {
            text.push_str(&self.as_text(catalog, &found, case, &around));
        }
        for line in person.lines().into_iter().chain(around.lines()) {
            text.push_str(&format!("{line}\n"));
        }
        print(&text)
    }

    fn as_text(
        &self,
        catalog: &Catalog,
        found: &[Arc<Deployment>],
        case: &Case,
        around: &Around,
    ) -> String {
        let groups = case.identity.groups.join(", ");
        let domain = case.identity.domain.as_deref().unwrap_or("none");
        let groups = match (&*case.source, groups.is_empty()) {
            (person::NONE_GIVEN, _) => "no groups given".to_owned(),
            (source, true) => format!("groups {source}: none"),
            (source, false) => format!("groups {source}: {groups}"),
        };
        let mut text = format!("{} (domain: {domain}; {groups})\n", self.user);
        let ranks = Ranks::of(found, &case.identity, around);
        for deployment in found {
            let route = format!("/{}/{}/v1", deployment.cluster.name, deployment.framework);
            let verdict = verdict(deployment, &case.identity);
            let word = match may_use(deployment, &case.identity) {
                true => "allowed",
                false => "refused",
            };
            text.push_str(&format!("  {route}  {word}: {verdict}\n"));
            if let Some(hint) = hint_for(deployment, &case.identity) {
                text.push_str(&format!("    is told: {}\n", hint.escape_debug()));
            }
            if let Some(reason) = not_served(deployment) {
                text.push_str(&format!("    but takes no requests: {reason}\n"));
            }
            for line in around.of(deployment, &case.identity) {
                text.push_str(&format!("    {line}\n"));
            }
            if let Some((place, signal, work)) = ranks.place(deployment) {
                let all = ranks.count();
                text.push_str(&format!(
                    "    rank: {place} of {all}, by {signal}; {work} tokens of work in flight\n"
                ));
            }
        }
        if found.is_empty() {
            text.push_str("  no endpoint has this model: everybody is told model_not_found\n");
        }
        let everywhere = match (self.everywhere(catalog, case), self.is_told(catalog, case)) {
            (true, _) => "allowed",
            (false, true) => "refused with 403 model_access_denied",
            (false, false) => "refused with 404 model_not_found",
        };
        text.push_str(&format!("  /v1  {everywhere}\n"));
        text
    }

    fn as_json(
        &self,
        catalog: &Catalog,
        found: &[Arc<Deployment>],
        case: &Case,
        person: &Person,
        around: &Around,
    ) -> Value {
        let ranks = Ranks::of(found, &case.identity, around);
        let endpoint = |deployment: &Arc<Deployment>| {
            json!({
                "cluster": deployment.cluster.name,
                "framework": deployment.framework,
                "endpoint_slug": deployment.slug,
                "model": deployment.model,
                "allowed": may_use(deployment, &case.identity),
                "rule": verdict(deployment, &case.identity),
                "access_hint": hint_for(deployment, &case.identity).map(|hint| &**hint),
                "not_served": not_served(deployment),
                "maintenance": around.notice(deployment),
                "limits": around.limits(deployment, &case.identity),
                "health": around.health(&deployment.slug),
                "rank": ranks.place(deployment).map(|(place, signal, work)| {
                    json!({"place": place, "signal": signal, "work": work})
                }),
            })
        };
        json!({
            "user": self.user, "domain": case.identity.domain, "groups": case.identity.groups, "model": self.model,
            "known": person.is_known(), "keys": person.keys_as_json(),
            "endpoints": found.iter().map(endpoint).collect::<Vec<_>>(),
            "allowed_everywhere_route": self.everywhere(catalog, case),
            "waiting": around.waiting(),
        })
    }

    /// Whether `/v1/{api}` serves it to this user.
    fn everywhere(&self, catalog: &Catalog, case: &Case) -> bool {
        let found = catalog.lookup(Scope::Everywhere, &self.model);
        let mut deployments = found.iter().flat_map(|(_, deployments)| deployments.iter());
        deployments.any(|deployment| may_use(deployment, &case.identity))
    }

    /// Whether `/v1/{api}` tells a user who may not use it how to get access.
    fn is_told(&self, catalog: &Catalog, case: &Case) -> bool {
        let found = catalog.lookup(Scope::Everywhere, &self.model);
        let mut deployments = found.iter().flat_map(|(_, deployments)| deployments.iter());
        deployments.any(|deployment| hint_for(deployment, &case.identity).is_some())
    }
}

fn not_served(deployment: &Deployment) -> Option<&str> {
    match &deployment.serving {
        Serving::Yes => None,
        Serving::Disabled(reason) | Serving::AdapterUnavailable(reason) => Some(reason),
    }
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
