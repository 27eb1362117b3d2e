use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::slug::slugify;
use super::{Cluster, Deployment};
use crate::scan::{PrintKey, Watch};

/// The deployments that a path covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// `/v1/...`: every federated deployment.
    Everywhere,
    /// `/{cluster}/{framework}/v1/...`
    Framework {
        cluster: &'a str,
        framework: &'a str,
    },
}

/// Everything that is served, as of one reading of the files. Never modified, only replaced.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Counts the readings. A request keeps the catalog that it began with.
    pub generation: u64,
    match_slug: bool,
    clusters: Vec<Arc<Cluster>>,
    by_cluster: HashMap<Arc<str>, Members>,
    deployments: Vec<Arc<Deployment>>,
    by_slug: HashMap<Arc<str>, usize>,
    everywhere: Names,
    watch: Watch,
}

/// The parts of one cluster.
#[derive(Debug)]
struct Members {
    cluster: usize,
    deployments: Vec<Arc<Deployment>>,
    frameworks: HashMap<Arc<str>, Names>,
}

/// Maps names, canonical ones before aliases, to their deployments in file order.
#[derive(Debug, Default)]
struct Names {
    canonical: HashMap<Arc<str>, Vec<Arc<Deployment>>, RandomState>,
    /// The canonical names, sorted.
    sorted: Vec<Arc<str>>,
    /// Alias -> canonical name; `None` if the alias would mean two models.
    aliases: HashMap<Box<str>, Option<Arc<str>>>,
    /// Slug of a name or alias -> the canonical name; `None` if several share the slug.
    slugs: HashMap<Box<str>, Option<Arc<str>>>,
}

impl Catalog {
    /// Indexes validated entries. A route leads to a deployment only if `clusters` contains its cluster and that
    /// cluster lists its framework. `aliases` (other name -> canonical model) apply in every scope that has the model.
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
            deployment.policy.tell(&mut catalog.watch);
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

    /// Has scans hash prompts, where any model has more than one endpoint.
    pub fn print_with(&mut self, key: PrintKey) {
        let has_choice = |names: &Names| names.canonical.values().any(|all| all.len() > 1);
        let mut clusters = self.by_cluster.values();
        let is_wanted = has_choice(&self.everywhere)
            || clusters.any(|one| one.frameworks.values().any(has_choice));
        if is_wanted {
            self.watch.print_with(key);
        }
    }

    /// The keys that scans of bodies look for on behalf of all endpoints.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// In file order.
    pub fn clusters(&self) -> &[Arc<Cluster>] {
        &self.clusters
    }

    pub fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        let members = self.by_cluster.get(name)?;
        self.clusters.get(members.cluster)
    }

    /// All of them in file order, including those that no route leads to.
    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.deployments
    }

    pub fn deployment(&self, slug: &str) -> Option<&Arc<Deployment>> {
        self.deployments.get(*self.by_slug.get(slug)?)
    }

    /// A cluster's routed deployments, in file order.
    pub fn of_cluster(&self, cluster: &str) -> &[Arc<Deployment>] {
        self.by_cluster
            .get(cluster)
            .map_or(&[], |members| &members.deployments)
    }

    /// The canonical model for a name, and its deployments, at least one. It tries the exact name, then aliases, then,
    /// if the catalog matches slugs, the slug of the lower-cased name if only one model has it.
    pub fn lookup(&self, scope: Scope<'_>, name: &str) -> Option<(Arc<str>, &[Arc<Deployment>])> {
        self.names(scope)?.find(name, self.match_slug)
    }

    /// The deployments that a name stands for on the routes of their own clusters and frameworks.
    pub fn named(&self, name: &str) -> Vec<Arc<Deployment>> {
        let mut found = Vec::new();
        for cluster in self.clusters() {
            for framework in &cluster.frameworks {
                let scope = Scope::Framework {
                    cluster: &cluster.name,
                    framework,
                };
                let here = self.lookup(scope, name);
                found.extend(here.into_iter().flat_map(|(_, all)| all.iter().cloned()));
            }
        }
        found
    }

    /// The canonical models of a scope, sorted, each with its deployments.
    pub fn models<'a>(
        &'a self,
        scope: Scope<'_>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a [Arc<Deployment>])> {
        self.names(scope)
            .into_iter()
            .flat_map(|names| names.sorted.iter().map(|name| (name, names.of(name))))
    }

    /// Other names of models in a scope, each with the canonical one; in no particular order.
    pub fn aliases<'a>(
        &'a self,
        scope: Scope<'_>,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<str>)> {
        let names = self.names(scope).into_iter();
        names
            .flat_map(|names| &names.aliases)
            .filter_map(|(alias, model)| Some((&**alias, model.as_ref()?)))
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
        self.finish_slugs();
    }

    /// A model's own slug counts before that of an alias.
    fn finish_slugs(&mut self) {
        self.sorted = self.canonical.keys().map(Arc::clone).collect();
        self.sorted.sort();
        for name in &self.sorted {
            self.slugs
                .entry(slugify(&name.to_lowercase()).into())
                .and_modify(|known| *known = None)
                .or_insert_with(|| Some(Arc::clone(name)));
        }
        let mut of_aliases: HashMap<Box<str>, Option<Arc<str>>> = HashMap::new();
        for (alias, model) in &self.aliases {
            of_aliases
                .entry(slugify(&alias.to_lowercase()).into())
                .and_modify(|known| {
                    if known != model {
                        *known = None;
                    }
                })
                .or_insert_with(|| model.clone());
        }
        for (slug, model) in of_aliases {
            self.slugs.entry(slug).or_insert(model);
        }
        // Names whose slug is empty would match each other.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use ostia_core::Location;
    use serde_json::Value;

    use super::{Catalog, Scope};
    use crate::catalog::{
        Access, AgentOptions, BodyPolicy, Cluster, ClusterAdapterName, Deployment, HttpUrl,
        Profile, Scheduler, Serving, Target, Timeouts, slug,
    };
    use crate::fleet::Fleet;

    fn cluster(name: &str) -> Arc<Cluster> {
        Arc::new(Cluster {
            name: name.into(),
            frameworks: vec!["f".into()],
            openai_endpoints: vec!["chat/completions".into()],
            access: Access::default(),
            adapter: ClusterAdapterName::Static,
            status: None,
            patience: Duration::ZERO,
            scheduler: Scheduler::default(),
            config: Value::Null,
        })
    }

    fn target() -> Target {
        let origin = HttpUrl::parse("http://127.0.0.1").unwrap().origin;
        Target::plain(origin, Timeouts::default())
    }

    fn deployment(cluster: &Arc<Cluster>, model: &str, aliases: &[&str]) -> Deployment {
        let slug: Arc<str> = slug(&cluster.name, "f", model).into();
        Deployment {
            index: 0,
            state: Fleet::default().endpoint(&slug),
            learned: Default::default(),
            slug,
            cluster: Arc::clone(cluster),
            framework: "f".into(),
            model: model.into(),
            upstream_model: model.into(),
            aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
            access: Access::default(),
            access_hint: None,
            tpm_model: 0,
            tpm_user: 0,
            max_in_flight: crate::catalog::Places::Fixed(0),
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
            target: target(),
            isolation: Default::default(),
            policy: BodyPolicy::default(),
            profile: Profile::default(),
            agents: AgentOptions::default(),
            location: Location::OnSite,
            config: Value::Null,
            serving: Serving::Yes,
        }
    }

    fn found(catalog: &Catalog, scope: Scope<'_>, name: &str) -> Option<String> {
        let (model, deployments) = catalog.lookup(scope, name)?;
        assert!(deployments.iter().all(|it| it.model == model));
        assert!(!deployments.is_empty());
        Some(model.to_string())
    }

    fn build(names: &[(&str, &[&str])], aliases: &[(&str, &str)], match_slug: bool) -> Catalog {
        let cluster = cluster("c");
        let deployments = names
            .iter()
            .map(|(model, aliases)| deployment(&cluster, model, aliases))
            .collect();
        let aliases = aliases
            .iter()
            .map(|(alias, model)| ((*alias).to_owned(), (*model).to_owned()))
            .collect();
        Catalog::build(vec![cluster], deployments, &aliases, match_slug)
    }

    const FRAMEWORK: Scope<'static> = Scope::Framework {
        cluster: "c",
        framework: "f",
    };

    #[test]
    fn names_are_matched_exactly() {
        let catalog = build(
            &[("org/Model-3.1", &["small"])],
            &[("tiny", "org/Model-3.1")],
            false,
        );
        for scope in [Scope::Everywhere, FRAMEWORK] {
            for name in ["org/Model-3.1", "small", "tiny"] {
                assert_eq!(
                    found(&catalog, scope, name).as_deref(),
                    Some("org/Model-3.1"),
                    "{name}"
                );
            }
            for stranger in [
                "org/model-3.1",
                "org/Model-3.1 ",
                " org/Model-3.1",
                "orgModel-3.1",
                "org/Model-31",
                "org/M\u{43e}del-3.1",
                "org/Model-3.1\0",
                "orgmodel-31",
                "Small",
                "",
                &"x".repeat(10_000),
            ] {
                assert_eq!(found(&catalog, scope, stranger), None, "{stranger:?}");
            }
        }
        for (cluster, framework) in [("d", "f"), ("c", "g"), ("C", "f"), ("", "")] {
            let scope = Scope::Framework { cluster, framework };
            assert_eq!(found(&catalog, scope, "small"), None);
            assert_eq!(catalog.models(scope).count(), 0);
        }
    }

    #[test]
    fn slugs_match_after_exact_names_and_only_where_they_are_unique() {
        let names: [(&str, &[&str]); 5] = [
            ("org/Model-3.1", &["other"]),
            ("a.b", &[]),
            ("ab", &["gonemodel1", "twomean"]),
            ("模型", &["two/mean"]),
            ("OTHER", &[]),
        ];
        let catalog = build(&names, &[], true);
        for (name, model) in [
            ("ORG/model 3.1", Some("org/Model-3.1")),
            ("orgmodel-31", Some("org/Model-3.1")),
            ("ab", Some("ab")),
            ("a.b", Some("a.b")),
            ("AB", None),
            ("模型", Some("模型")),
            ("型模", None),
            ("///", None),
            ("other", Some("org/Model-3.1")),
            ("Other", Some("OTHER")),
            ("Gone/Model.1", Some("ab")),
            ("gonemodel1", Some("ab")),
            ("two.mean", None),
        ] {
            assert_eq!(found(&catalog, FRAMEWORK, name).as_deref(), model, "{name}");
        }
    }

    #[test]
    fn a_canonical_name_wins_over_an_alias_and_an_ambiguous_alias_is_nobodys() {
        let names: [(&str, &[&str]); 2] = [("A", &["B", "x"]), ("B", &["x", "y"])];
        let catalog = build(&names, &[("y", "A"), ("z", "nothing")], false);
        assert_eq!(found(&catalog, FRAMEWORK, "B").as_deref(), Some("B"));
        for nobodys in ["x", "y", "z"] {
            assert_eq!(found(&catalog, FRAMEWORK, nobodys), None, "{nobodys}");
        }
    }

    #[test]
    fn ten_thousand_endpoints() {
        let clusters: Vec<_> = (0..10).map(|n| cluster(&format!("c{n}"))).collect();
        let deployments = (0..10_000)
            .map(|n| {
                deployment(
                    &clusters[n % 10],
                    &format!("model-{n}"),
                    &[&format!("alias-{n}")],
                )
            })
            .collect();
        let catalog = Catalog::build(clusters, deployments, &BTreeMap::new(), true);
        for n in (0..10_000).step_by(97) {
            let model = format!("model-{n}");
            let name = format!("c{}", n % 10);
            let scope = Scope::Framework {
                cluster: &name,
                framework: "f",
            };
            for asked in [model.clone(), format!("alias-{n}"), format!("MODEL {n}")] {
                assert_eq!(
                    found(&catalog, Scope::Everywhere, &asked),
                    Some(model.clone())
                );
                assert_eq!(found(&catalog, scope, &asked), Some(model.clone()));
            }
            let by_slug = catalog.deployment(&slug(&name, "f", &model)).unwrap();
            assert_eq!(by_slug.index, n);
            assert_eq!(catalog.deployments()[n].model, by_slug.model);
        }
        assert_eq!(catalog.of_cluster("c3").len(), 1_000);
        let models: Vec<_> = catalog
            .models(Scope::Everywhere)
            .map(|(name, _)| name)
            .collect();
        assert!(models.is_sorted() && models.len() == 10_000);
    }
}
