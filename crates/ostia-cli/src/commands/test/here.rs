use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use ostia::boot::Running;
use ostia::catalog::{Access, Catalog, Deployment, Serving};
use ostia::fleet::Fleet;
use ostia::settings::{Provider, Settings};

use super::{Test, USUAL_API, others};
use crate::arguments::Setup;
use crate::commands::load::{load, unsound};
use crate::commands::serve::not_started;
use crate::commands::trial::{Holder, Trial, any_port};
use crate::failure::Failure;

/// The order of preference: the first that the cluster lists is called.
const APIS: [&str; 5] = [
    USUAL_API,
    "messages",
    "responses",
    "completions",
    "embeddings",
];

/// A gateway with this configuration, used only by this command.
pub(super) struct Here {
    pub(super) trial: Trial,
    pub(super) model: String,
    pub(super) api: String,
    deployment: Arc<Deployment>,
    running: Running,
    user: String,
}

impl Here {
    pub(super) async fn start(test: &Test, setup: &Setup) -> Result<Self, Failure> {
        let fleet = Arc::<Fleet>::default();
        let loaded = load(setup, None, &fleet);
        let Some(settings) = loaded.settings else {
            return Err(unsound());
        };
        let deployment = chosen(&loaded.catalog, test.model.as_deref())?;
        let api = match &test.api {
            Some(api) => api.clone(),
            None => first_api(&deployment)?,
        };
        let holder = match &test.user {
            Some(user) => Holder {
                username: user.clone(),
                groups: test.groups.clone(),
            },
            None => permitted(&deployment),
        };
        let user = holder.username.clone();
        let trial = Trial::new(holder).await?;
        let settings = for_one_call(settings);
        let started = trial.serve(setup, settings, loaded.catalog, fleet, any_port());
        let running = started.await.map_err(|error| not_started(&error))?;
        let model = test.model.clone();
        Ok(Self {
            trial,
            model: model.unwrap_or_else(|| deployment.model.to_string()),
            api,
            deployment,
            running,
            user,
        })
    }

    /// The route of the endpoint's own cluster and framework.
    pub(super) fn base(&self) -> String {
        let Deployment {
            cluster, framework, ..
        } = &*self.deployment;
        let address = self.running.address();
        let address = address.map(|address| address.to_string());
        format!(
            "http://{}/{}/{framework}/v1",
            address.unwrap_or_default(),
            cluster.name
        )
    }

    pub(super) fn way(&self) -> String {
        let deployment = &self.deployment;
        let target = &deployment.target;
        let at = match &*deployment.kind {
            ostia::backend::DIRECT_API => format!(" at {}", target.origin.authority()),
            kind => format!(" by {kind}"),
        };
        format!(
            "on endpoint {}{at}, through a gateway in this process, as {}",
            deployment.slug, self.user
        )
    }

    pub(super) async fn stop(self) {
        // Nothing is running any more, so there is nothing to wait for.
        self.running.shut_down(Duration::ZERO, ready(())).await;
    }
}

/// The endpoint to call: one of the model, or the first that is served.
fn chosen(catalog: &Catalog, model: Option<&str>) -> Result<Arc<Deployment>, Failure> {
    let ready = |deployment: &&Arc<Deployment>| {
        deployment.serving == Serving::Yes && deployment.framework_listed()
    };
    let Some(model) = model else {
        let served: Vec<_> = catalog.deployments().iter().filter(ready).collect();
        let Some(first) = served.first() else {
            return Err(Failure::config(
                "nothing would be served: `ostia check` says why",
            ));
        };
        let mut rest: Vec<&str> = served.iter().map(|one| &*one.model).collect();
        rest.retain(|model| *model != &*first.model);
        rest.sort_unstable();
        rest.dedup();
        others(&rest);
        return Ok(Arc::clone(first));
    };
    let found = catalog.named(model);
    if let Some(deployment) = found.iter().find(ready) {
        return Ok(Arc::clone(deployment));
    }
    if let Some(deployment) = found.first() {
        let slug = &deployment.slug;
        return Err(Failure::config(format!(
            "endpoint {slug} is not served: `ostia check` says why"
        )));
    }
    let mut known: Vec<&str> = catalog
        .deployments()
        .iter()
        .map(|one| &*one.model)
        .collect();
    known.sort_unstable();
    known.dedup();
    let shown = model.escape_debug();
    let known = known.join(", ");
    Err(Failure::usage(format!(
        "there is no model `{shown}`; known: {known}"
    )))
}

fn first_api(deployment: &Deployment) -> Result<String, Failure> {
    let mut served = APIS
        .into_iter()
        .filter(|api| deployment.cluster.serves_api(api));
    served.next().map(str::to_owned).ok_or_else(|| {
        let name = &deployment.cluster.name;
        Failure::usage(format!(
            "cluster {name} lists none of {}: name one of its own with --api",
            APIS.join(", ")
        ))
    })
}

/// A user who meets the rules of cluster and endpoint, if anybody can.
fn permitted(deployment: &Deployment) -> Holder {
    let rules: [&Access; 2] = [&deployment.cluster.access, &deployment.access];
    let domains = rules.map(|rule| rule.domains.as_deref().unwrap_or_default());
    let common = domains[0]
        .iter()
        .find(|domain| domains[1].is_empty() || domains[1].contains(domain));
    let domain = common
        .or_else(|| domains[1].first())
        .map_or("localhost", |domain| domain);
    let groups = rules
        .iter()
        .filter_map(|rule| rule.groups.as_deref()?.first());
    Holder {
        username: format!("ostia-test@{domain}"),
        groups: groups.map(ToString::to_string).collect(),
    }
}

/// Removes the settings of sign-in, maintenance and external services, which do not matter here.
fn for_one_call(mut settings: Settings) -> Settings {
    settings.auth.providers = vec![Provider::ApiKey];
    settings.maintenance.clear();
    settings.maintenance_sources.clear();
    settings.server.tls_cert = None;
    settings.server.tls_key = None;
    settings
}
