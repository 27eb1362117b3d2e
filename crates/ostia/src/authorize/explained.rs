use std::collections::BTreeSet;

use super::denials::Wanted;
use super::{Denied, Nearest, may_use};
use crate::catalog::{Catalog, Deployment, Scope};
use crate::identify::Principal;

/// A refusal, with what was asked for and what its caller may use instead.
///
/// It is made only from what the caller may use, so it is the same for what is forbidden and for what does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub denied: Denied,
    /// The name that the request gave: a model's, an API's or a framework's.
    pub asked: String,
    pub nearest: Nearest,
    /// The caller's groups are unknown, which may be why.
    pub groups_unlisted: bool,
}

pub(super) fn explained(
    denied: Denied,
    wanted: Wanted<'_>,
    catalog: &Catalog,
    principal: &Principal,
) -> Explained {
    let (asked, known) = match (&denied, wanted) {
        (Denied::ModelNotFound, Wanted::Model(scope, name, _)) => {
            let models = catalog.models(scope);
            let deployments = models.flat_map(|(_, deployments)| deployments);
            (name, models_of(deployments, principal))
        }
        (Denied::ModelNotFound, Wanted::ModelOf(cluster, name)) => {
            (name, models_of(catalog.of_cluster(cluster), principal))
        }
        (Denied::UnsupportedApi, Wanted::Model(scope, name, api)) => {
            (api, apis_of(catalog, scope, name, principal))
        }
        (
            Denied::UnsupportedFramework,
            Wanted::Model(Scope::Framework { cluster, framework }, ..),
        ) => {
            let deployments = catalog.of_cluster(cluster).iter();
            let usable = deployments.filter(|deployment| may_use(deployment, principal));
            (
                framework,
                usable.map(|deployment| &*deployment.framework).collect(),
            )
        }
        _ => ("", BTreeSet::new()),
    };
    Explained {
        asked: asked.to_owned(),
        nearest: Nearest::of(asked, known.into_iter()),
        groups_unlisted: principal.groups_unlisted,
        denied,
    }
}

fn models_of<'a>(
    deployments: impl IntoIterator<Item = &'a std::sync::Arc<Deployment>>,
    principal: &Principal,
) -> BTreeSet<&'a str> {
    let deployments = deployments.into_iter();
    let usable = deployments.filter(|deployment| may_use(deployment, principal));
    usable
        .flat_map(|deployment| {
            let aliases = deployment.aliases.iter().map(|alias| &**alias);
            aliases.chain([&*deployment.model])
        })
        .collect()
}

/// The APIs of the cluster in the path, or of every cluster where the caller may use the model.
fn apis_of<'a>(
    catalog: &'a Catalog,
    scope: Scope<'_>,
    model: &str,
    principal: &Principal,
) -> BTreeSet<&'a str> {
    let found = match scope {
        Scope::Framework { cluster, .. } => catalog.cluster(cluster).into_iter().collect(),
        Scope::Everywhere => {
            let deployments = catalog
                .lookup(scope, model)
                .map_or(&[][..], |found| found.1);
            let usable = deployments.iter();
            let usable = usable.filter(|deployment| may_use(deployment, principal));
            usable
                .map(|deployment| &deployment.cluster)
                .collect::<Vec<_>>()
        }
    };
    let apis = found
        .into_iter()
        .flat_map(|cluster| &cluster.openai_endpoints);
    apis.map(|api| &**api).collect()
}
