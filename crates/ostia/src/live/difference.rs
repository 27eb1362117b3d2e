//! What a new reading of the files would change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Live;
use super::files::Known;
use crate::catalog::{Cluster, Deployment, Serving};
use crate::settings::{Limits, OwnLimit};

/// The difference between two readings of the files. Contains no secrets.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub endpoints: Entries,
    pub clusters: Entries,
    pub settings: Vec<ChangedSetting>,
    /// Files with changed content: fixtures, scripts, certificates.
    pub files: Vec<String>,
    /// Keys whose changes take effect only after a restart.
    pub needs_restart: Vec<String>,
}

/// Entries of the catalog, by slug or name, sorted.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<ChangedEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedEntry {
    pub name: String,
    /// The keys that differ, by their names in fixtures.
    pub keys: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedSetting {
    pub key: String,
    pub before: String,
    pub after: String,
}

impl Difference {
    pub(crate) fn between(
        (old, old_known): (&Live, &Known),
        (new, new_known): (&Live, &Known),
        needs_restart: Vec<&str>,
    ) -> Self {
        let of_deployments = |live: &Live| {
            let all = live.catalog.deployments().iter();
            all.map(|one| (one.slug.to_string(), keys_of(one, &live.settings.limits)))
                .collect()
        };
        let of_clusters = |live: &Live| {
            let all = live.catalog.clusters().iter();
            all.map(|one| (one.name.to_string(), cluster_keys(one)))
                .collect()
        };
        Self {
            endpoints: Entries::between(&of_deployments(old), &of_deployments(new)),
            clusters: Entries::between(&of_clusters(old), &of_clusters(new)),
            settings: changed_settings(old_known, new_known),
            files: changed_files(old_known, new_known),
            needs_restart: needs_restart.into_iter().map(str::to_owned).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

type Keys = BTreeMap<String, String>;

impl Entries {
    fn between(old: &BTreeMap<String, Keys>, new: &BTreeMap<String, Keys>) -> Self {
        let only_in = |some: &BTreeMap<String, Keys>, others: &BTreeMap<String, Keys>| {
            let names = some.keys().filter(|name| !others.contains_key(*name));
            names.cloned().collect()
        };
        let changed = new.iter().filter_map(|(name, after)| {
            let before = old.get(name)?;
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let differ = names
                .into_iter()
                .filter(|key| before.get(*key) != after.get(*key));
            let keys: Vec<String> = differ.cloned().collect();
            let name = name.clone();
            (!keys.is_empty()).then_some(ChangedEntry { name, keys })
        });
        Self {
            added: only_in(new, old),
            removed: only_in(old, new),
            changed: changed.collect(),
        }
    }
}

/// An entry's keys and values, in any form that can be compared. It is not shown, because values may be secret. Values
/// that come from `limits` are not the entry's own, so their changes do not count.
fn keys_of(deployment: &Deployment, limits: &Limits) -> Keys {
    let unless_usual = |own: u64, usual: u64| match own == usual {
        true => String::new(),
        false => own.to_string(),
    };
    let of_config = config_keys(&deployment.config);
    let secrets = deployment.secrets.iter();
    let secrets: BTreeMap<_, _> = secrets
        .map(|(name, value)| (name, value.expose()))
        .collect();
    let aliases: BTreeSet<_> = deployment.aliases.iter().collect();
    let own = [
        ("cluster", deployment.cluster.name.to_string()),
        ("framework", deployment.framework.to_string()),
        ("model", deployment.model.to_string()),
        ("aliases", format!("{aliases:?}")),
        ("rules", format!("{:?}", deployment.access)),
        (
            "tpm_model",
            unless_usual(deployment.tpm_model, limits.tpm_model),
        ),
        (
            "tpm_user",
            unless_usual(deployment.tpm_user, limits.of(OwnLimit::TokensPerMinute)),
        ),
        (
            "adapter",
            format!("{} {:?}", deployment.kind, deployment.hooks),
        ),
        ("federated", deployment.federated.to_string()),
        (
            "key",
            format!(
                "{:?}",
                deployment.target.key.as_ref().map(|key| key.expose())
            ),
        ),
        ("secrets", format!("{secrets:?}")),
        ("serving", word(&deployment.serving).to_owned()),
    ];
    of_config.into_iter().chain(named(own)).collect()
}

fn cluster_keys(cluster: &Cluster) -> Keys {
    let own = [
        ("frameworks", format!("{:?}", cluster.frameworks)),
        (
            "openai_endpoints",
            format!("{:?}", cluster.openai_endpoints),
        ),
        ("rules", format!("{:?}", cluster.access)),
        ("adapter", format!("{:?}", cluster.adapter)),
        (
            "status_url",
            format!(
                "{:?}",
                cluster.status.as_ref().map(|status| &status.path_and_query)
            ),
        ),
    ];
    let of_config = config_keys(&cluster.config);
    of_config.into_iter().chain(named(own)).collect()
}

fn config_keys(config: &Value) -> Keys {
    let members = config.as_object().into_iter().flatten();
    members
        .map(|(key, value)| (format!("config.{key}"), value.to_string()))
        .collect()
}

fn named<const N: usize>(own: [(&str, String); N]) -> impl Iterator<Item = (String, String)> {
    own.into_iter().map(|(key, value)| (key.to_owned(), value))
}

const fn word(serving: &Serving) -> &'static str {
    match serving {
        Serving::Yes => "served",
        Serving::Disabled(_) => "disabled",
        Serving::AdapterUnavailable(_) => "adapter_unavailable",
    }
}

fn changed_settings(old: &Known, new: &Known) -> Vec<ChangedSetting> {
    const ABSENT: &str = "";
    let by_name = |known: &Known| -> BTreeMap<String, _> {
        let values = known.values.iter();
        values
            .map(|value| (value.name.clone(), value.clone()))
            .collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    let shown = |value: Option<&crate::config::SettingValue>| {
        value
            .map_or(ABSENT, |value| value.shown.as_str())
            .to_owned()
    };
    changed
        .map(|name| ChangedSetting {
            key: name.clone(),
            before: shown(old.get(name)),
            after: shown(new.get(name)),
        })
        .collect()
}

fn changed_files(old: &Known, new: &Known) -> Vec<String> {
    let (old, new) = (&old.contents, &new.contents);
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changed = paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path));
    changed.map(|path| path.display().to_string()).collect()
}

/// A line for each change.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (what, entries) in [("endpoint", &self.endpoints), ("cluster", &self.clusters)] {
            for name in &entries.added {
                writeln!(text, "+ {what} {name}")?;
            }
            for name in &entries.removed {
                writeln!(text, "- {what} {name}")?;
            }
            for ChangedEntry { name, keys } in &entries.changed {
                writeln!(text, "~ {what} {name}: {}", keys.join(", "))?;
            }
        }
        for ChangedSetting { key, before, after } in &self.settings {
            let before = if before.is_empty() {
                "(absent)"
            } else {
                before
            };
            let after = if after.is_empty() { "(absent)" } else { after };
            match before == after {
                true => writeln!(text, "~ setting {key}: another value")?,
                false => writeln!(text, "~ setting {key}: {before} -> {after}")?,
            }
        }
        for path in &self.files {
            writeln!(text, "~ file {path}")?;
        }
        for key in &self.needs_restart {
            writeln!(
                text,
                "! {key} needs a restart and keeps its value until then"
            )?;
        }
        f.write_str(&text)
    }
}
