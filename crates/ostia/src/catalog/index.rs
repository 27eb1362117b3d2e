use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::slug::slugify;
use super::{Cluster, Deployment};

/// Which deployments a path speaks of.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// `/v1/...`: every federated deployment.
    Everywhere,
    /// `/{cluster}/{framework}/v1/...`
    Framework {
        cluster: &'a str,
        framework: &'a str,
    },
}

/// Everything that is served, as of one reading of the files. Never changed, only replaced.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Counts readings; a request keeps the one it began with.
    pub generation: u64,
    match_slug: bool,
    clusters: Vec<Arc<Cluster>>,
    by_cluster: HashMap<Arc<str>, Members>,
    deployments: Vec<Arc<Deployment>>,
    by_slug: HashMap<Arc<str>, usize>,
    everywhere: Names,
}

/// What belongs to one cluster.
#[derive(Debug)]
struct Members {
    cluster: usize,
    deployments: Vec<Arc<Deployment>>,
    frameworks: HashMap<Arc<str>, Names>,
}

/// Names, canonical ones before aliases, to the deployments behind them in the files' order.
#[derive(Debug, Default)]
struct Names {
    canonical: HashMap<Arc<str>, Vec<Arc<Deployment>>>,
    /// The canonical names in order.
    sorted: Vec<Arc<str>>,
    /// Alias -> canonical name; `None` where it would stand for two.
    aliases: HashMap<Box<str>, Option<Arc<str>>>,
    /// Slug of a canonical name -> that name; `None` where two names have it.
    slugs: HashMap<Box<str>, Option<Arc<str>>>,
}

impl Catalog {
    /// Indexes what was validated. Deployments are on a route only if `clusters` holds their cluster and that cluster
    /// lists their framework. `aliases` (other name -> canonical model) hold in every scope that has the model.
    pub fn build(
        clusters: Vec<Arc<Cluster>>,
        deployments: Vec<Deployment>,
        aliases: &BTreeMap<String, String>,
        match_slug: bool,
    ) -> Self {
        let mut catalog = Self {
            match_slug,
            by_cluster: members(&clusters),
            clusters,
            ..Self::default()
        };
        for (index, mut deployment) in deployments.into_iter().enumerate() {
            deployment.index = index;
            catalog.add(&Arc::new(deployment));
        }
        catalog.everywhere.finish(aliases);
        for names in catalog
            .by_cluster
            .values_mut()
            .flat_map(|members| members.frameworks.values_mut())
        {
            names.finish(aliases);
        }
        catalog
    }

    /// In the files' order.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        let members = self.by_cluster.get(name)?;
        self.clusters.get(members.cluster)
    }

    /// All of them in the files' order, those on no route included.
    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.deployments
    }

    pub fn deployment(&self, slug: &str) -> Option<&Arc<Deployment>> {
        self.deployments.get(*self.by_slug.get(slug)?)
    }

    /// The routed deployments of a cluster, in the files' order.
    pub fn of_cluster(&self, cluster: &str) -> &[Arc<Deployment>] {
        self.by_cluster
            .get(cluster)
            .map_or(&[], |members| &members.deployments)
    }

    /// The canonical model that a name stands for, and its deployments: by exact name, then by alias, then, if the
    /// catalog matches slugs, by the slug of the lower-cased name where only one model has it. Never empty.
    pub fn lookup(&self, scope: Scope<'_>, name: &str) -> Option<(Arc<str>, &[Arc<Deployment>])> {
        self.names(scope)?.find(name, self.match_slug)
    }

    /// Canonical models of a scope in order, each with its deployments.
    pub fn models<'a>(
        &'a self,
        scope: Scope<'_>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a [Arc<Deployment>])> {
        self.names(scope)
            .into_iter()
            .flat_map(|names| names.sorted.iter().map(|name| (name, names.of(name))))
    }

    fn names(&self, scope: Scope<'_>) -> Option<&Names> {
        match scope {
            Scope::Everywhere => Some(&self.everywhere),
            Scope::Framework { cluster, framework } => {
                self.by_cluster.get(cluster)?.frameworks.get(framework)
            }
        }
    }

    fn add(&mut self, deployment: &Arc<Deployment>) {
        self.by_slug
            .insert(Arc::clone(&deployment.slug), deployment.index);
        self.deployments.push(Arc::clone(deployment));
        let Some(members) = self.by_cluster.get_mut(&deployment.cluster.name) else {
            return;
        };
        if !deployment.framework_listed() {
            return;
        }
        members.deployments.push(Arc::clone(deployment));
        members
            .frameworks
            .entry(Arc::clone(&deployment.framework))
            .or_default()
            .add(deployment);
        if deployment.federated {
            self.everywhere.add(deployment);
        }
    }
}

fn members(clusters: &[Arc<Cluster>]) -> HashMap<Arc<str>, Members> {
    clusters
        .iter()
        .enumerate()
        .map(|(index, cluster)| {
            let frameworks = cluster.frameworks.iter().map(Arc::clone);
            let members = Members {
                cluster: index,
                deployments: Vec::new(),
                frameworks: frameworks.map(|name| (name, Names::default())).collect(),
            };
            (Arc::clone(&cluster.name), members)
        })
        .collect()
}

impl Names {
    fn add(&mut self, deployment: &Arc<Deployment>) {
        let model = &deployment.model;
        for alias in &deployment.aliases {
            self.alias(alias, model);
        }
        self.canonical
            .entry(Arc::clone(model))
            .or_default()
            .push(Arc::clone(deployment));
    }

    fn alias(&mut self, alias: &str, model: &Arc<str>) {
        self.aliases
            .entry(alias.into())
            .and_modify(|known| {
                if known.as_deref() != Some(&**model) {
                    *known = None;
                }
            })
            .or_insert_with(|| Some(Arc::clone(model)));
    }

    fn finish(&mut self, aliases: &BTreeMap<String, String>) {
        for (alias, model) in aliases {
            if let Some((model, _)) = self.canonical.get_key_value(&**model) {
                let model = Arc::clone(model);
                self.alias(alias, &model);
            }
        }
        self.sorted = self.canonical.keys().map(Arc::clone).collect();
        self.sorted.sort();
        for name in &self.sorted {
            self.slugs
                .entry(slugify(&name.to_lowercase()).into())
                .and_modify(|known| *known = None)
                .or_insert_with(|| Some(Arc::clone(name)));
        }
        // A name that leaves nothing behind would match every other such name.
        self.slugs.remove("");
    }

    fn find(&self, name: &str, match_slug: bool) -> Option<(Arc<str>, &[Arc<Deployment>])> {
        if let Some((model, deployments)) = self.canonical.get_key_value(name) {
            return Some((Arc::clone(model), deployments));
        }
        let model = match self.aliases.get(name) {
            Some(model) => model.as_ref()?,
            None if match_slug => self.slugs.get(&*slugify(&name.to_lowercase()))?.as_ref()?,
            None => return None,
        };
        Some((Arc::clone(model), self.of(model)))
    }

    fn of(&self, model: &str) -> &[Arc<Deployment>] {
        self.canonical.get(model).map_or(&[], Vec::as_slice)
    }
}
