use std::collections::HashMap;
use std::sync::Arc;

use ostia_core::Identity;
use serde_json::{Map, Value, json};

use super::anthropic::{self, Paging};
use super::codex;
use super::described::Described;
use crate::authorize::{Denied, NoticeLookup, may_see, may_use};
use crate::catalog::{Catalog, Deployment, Scope};
use crate::dialect::Invalid;

/// What lists of models are made from.
pub struct Models<'a, N> {
    pub catalog: &'a Catalog,
    pub notices: &'a N,
    pub identity: &'a Identity,
    /// The `created` of every model, in Unix seconds: the gateway's start, for lack of anything better.
    pub created: i64,
}

impl<N: NoticeLookup> Models<'_, N> {
    /// OpenAI's list of models: the canonical names that the caller may use, sorted. Also in the form that Codex reads.
    pub fn list(&self, scope: Scope<'_>) -> Result<Value, Denied> {
        let models: Vec<Described> = self.all(scope)?.map(|(model, _)| model).collect();
        let data: Vec<Value> = models.iter().map(|model| self.entry(model)).collect();
        let models = models.iter().enumerate();
        let for_codex: Vec<Value> = models
            .map(|(place, model)| codex::entry(model, place))
            .collect();
        Ok(json!({"object": "list", "data": data, "models": for_codex}))
    }

    /// One model by its name or an alias; the result has its canonical name.
    pub fn find(&self, scope: Scope<'_>, name: &str) -> Result<Value, Denied> {
        self.described(scope, name).map(|model| self.entry(&model))
    }

    /// A page of the list as Anthropic's clients read it.
    pub fn page(
        &self,
        scope: Scope<'_>,
        paging: &Paging<'_>,
    ) -> Result<Result<Value, Invalid>, Denied> {
        let models: Vec<_> = self.all(scope)?.collect();
        Ok(anthropic::list(&models, self.created, paging))
    }

    /// One model as Anthropic's clients read it.
    pub fn find_as_anthropic(&self, scope: Scope<'_>, name: &str) -> Result<Value, Denied> {
        let model = self.described(scope, name)?;
        Ok(anthropic::entry(&model.name, &model, self.created))
    }

    /// All models that the caller may use, with their aliases.
    fn all<'s>(
        &'s self,
        scope: Scope<'s>,
    ) -> Result<impl Iterator<Item = (Described, Vec<&'s str>)>, Denied> {
        self.check(scope)?;
        let mut aliases: HashMap<&str, Vec<&str>> = HashMap::new();
        for (alias, model) in self.catalog.aliases(scope) {
            aliases.entry(model).or_default().push(alias);
        }
        let models = self.catalog.models(scope);
        Ok(models.filter_map(move |(name, deployments)| {
            let model = Described::of(name, &self.allowed(deployments), self.notices)?;
            let mut aliases = aliases.remove(&**name).unwrap_or_default();
            aliases.sort_unstable();
            Some((model, aliases))
        }))
    }

    fn described(&self, scope: Scope<'_>, name: &str) -> Result<Described, Denied> {
        self.check(scope)?;
        self.catalog
            .lookup(scope, name)
            .and_then(|(name, deployments)| {
                Described::of(&name, &self.allowed(deployments), self.notices)
            })
            .ok_or(Denied::ModelNotFound)
    }

    fn allowed<'d>(&self, deployments: &'d [Arc<Deployment>]) -> Vec<&'d Arc<Deployment>> {
        let all = deployments.iter();
        all.filter(|deployment| may_use(deployment, self.identity))
            .collect()
    }

    /// Whether the caller may see the cluster, and the cluster lists the framework. Maintenance hides nothing.
    fn check(&self, scope: Scope<'_>) -> Result<(), Denied> {
        let Scope::Framework { cluster, framework } = scope else {
            return Ok(());
        };
        let cluster = self
            .catalog
            .cluster(cluster)
            .filter(|cluster| may_see(cluster, self.identity))
            .ok_or(Denied::ClusterNotFound)?;
        let listed = cluster.frameworks.iter().any(|name| **name == *framework);
        listed.then_some(()).ok_or(Denied::UnsupportedFramework)
    }

    fn entry(&self, model: &Described) -> Value {
        let mut entry = Map::new();
        for (key, value) in [
            ("id", json!(model.name)),
            ("object", json!("model")),
            ("created", json!(self.created)),
            ("owned_by", json!(model.owner)),
            ("state", json!(model.state.as_str())),
        ] {
            entry.insert(key.to_owned(), value);
        }
        model.add_to(&mut entry);
        Value::Object(entry)
    }
}
