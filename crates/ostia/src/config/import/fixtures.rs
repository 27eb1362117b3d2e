//! The parts of FIRST's fixture files that an import needs; `check` reads them completely.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::super::problem::Report;
use super::super::python;
use super::super::source::Source;
use super::super::tree::At;
use super::ImportError;
use crate::catalog::slug;

/// An endpoint.
pub(super) struct Entry {
    pub cluster: String,
    pub framework: String,
    pub model: String,
    pub slug: String,
    config: Value,
}

impl Entry {
    /// Whether the backend's key is in this variable.
    pub fn names_variable(&self, name: &str) -> bool {
        self.config["api_key_env_name"] == *name
    }
}

/// The files of clusters and endpoints; one and the same for a dump.
pub(super) fn fixture_files(path: &Path) -> Result<(PathBuf, PathBuf), ImportError> {
    if path.is_file() {
        return Ok((path.to_owned(), path.to_owned()));
    }
    let (clusters, endpoints) = (path.join("clusters.json"), path.join("endpoints.json"));
    if clusters.is_file() && endpoints.is_file() {
        return Ok((clusters, endpoints));
    }
    let found = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut dumps: Vec<PathBuf> = found
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    match (dumps.pop(), dumps.is_empty()) {
        (Some(dump), true) => Ok((dump.clone(), dump)),
        _ => Err(ImportError::NoFixtures(path.to_owned())),
    }
}

/// The endpoints of these files.
pub(super) fn entries(files: &[&Path]) -> Vec<Entry> {
    let mut found = Vec::new();
    for file in files {
        let report = Report::default();
        let Ok(source) = Source::read(file, &report) else {
            continue;
        };
        let base = At::whole(Arc::new(source));
        let Ok(Value::Array(entries)) = serde_json::from_str(&base.source.text) else {
            continue;
        };
        let endpoints = entries.iter().filter(|entry| {
            entry["model"]
                .as_str()
                .is_some_and(|kind| kind.ends_with(".endpoint"))
        });
        found.extend(endpoints.map(|entry| read(&entry["fields"], &base)));
    }
    found
}

fn read(fields: &Value, base: &At) -> Entry {
    let text = |key: &str| fields[key].as_str().unwrap_or_default().to_owned();
    let (cluster, framework, model) = (text("cluster"), text("framework"), text("model"));
    let given = text("endpoint_slug");
    let slug = match &*given {
        "" => slug(&cluster, &framework, &model),
        _ => given,
    };
    Entry {
        cluster,
        framework,
        model,
        slug,
        config: config_of(&fields["config"], base),
    }
}

/// `config` may be a text in JSON or Python notation; Python's covers JSON except for three words.
fn config_of(config: &Value, base: &At) -> Value {
    let inside = config.as_str().and_then(|text| {
        serde_json::from_str(text)
            .ok()
            .or_else(|| Some(python::parse(text, base).ok()?.to_value()))
    });
    inside.unwrap_or_else(|| config.clone())
}
