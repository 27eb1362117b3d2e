//! From a FIRST installation's `.env` and fixtures to an `ostia.toml`. Fixtures stay as they are and are only pointed at;
//! secrets stay where they are and are only named.

mod variables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use toml::{Table, Value as Toml};

use super::environment::Environment;
use super::problem::{Place, Problem, Reach, Report};
use super::python;
use super::source::Source;
use super::tree::At;
use variables::{Fate, fate_of};
pub use variables::{FirstVariable, first_variables};

/// What was made of an installation.
#[derive(Debug)]
pub struct Imported {
    /// The text of the new `ostia.toml`. No secret is in it.
    pub toml: String,
    /// Variable, and the key that has its value now.
    pub carried: Vec<(String, String)>,
    /// Variable, and why it is not carried over.
    pub left: Vec<(String, String)>,
    /// Faults of the files of variables, each with its place, and what the new file opens that was shut.
    pub problems: Vec<Problem>,
    /// What the files of variables say. They are read once: one may be a pipe.
    pub variables: Environment,
}

/// Why nothing may be written: a rule that cannot be read must not be lost.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(
        "{0}: there are neither clusters.json and endpoints.json nor one dump (manage.py dumpdata > dump.json)"
    )]
    NoFixtures(PathBuf),
    #[error("{0} cannot be read as it should: {1}")]
    Variable(String, String),
    #[error("{0}")]
    File(Problem),
}

const DOMAINS: &str = "AUTHORIZED_IDP_DOMAINS";
const NO_DOMAINS: &str = "is empty or missing: FIRST lets nobody in then, but Ostia everybody whom policies and groups allow; \
     list the domains in `auth.globus.idp_domains`";

/// Reads what FIRST was run with. `fixtures` is the folder of its fixtures, or a dump of its database; `target` is where
/// the new file will stand.
pub fn import_first(
    fixtures: &Path,
    env_files: &[PathBuf],
    target: &Path,
) -> Result<Imported, ImportError> {
    let report = Report::default();
    let environment = Environment::default().with_files(env_files, &report);
    let has_globus = is_set(&environment, "GLOBUS_APPLICATION_ID");
    if has_globus && !is_set(&environment, DOMAINS) {
        report.warning(Place::whole(DOMAINS), NO_DOMAINS);
    }
    let problems = report.into_problems();
    if let Some(fatal) = problems
        .iter()
        .find(|problem| problem.scope == Reach::Fatal)
    {
        return Err(ImportError::File(fatal.clone()));
    }
    let mut draft = Draft::default();
    let (clusters, endpoints) = fixture_files(fixtures)?;
    draft.set("fixtures.clusters", path_from(target, &clusters));
    draft.set("fixtures.endpoints", path_from(target, &endpoints));
    // FIRST's defaults for endpoints that do not say; here both are off unless written.
    draft.set("limits.tpm_model", 100_000);
    draft.set("limits.tpm_user", 60_000);
    let keys = backend_keys(&[&clusters, &endpoints]);
    let (mut carried, mut left) = (Vec::new(), Vec::new());
    for (name, value) in environment.iter() {
        if keys.iter().any(|key| key == name) {
            carried.push((name.to_owned(), "the endpoints that name it".to_owned()));
            continue;
        }
        match fate_of(name) {
            Fate::Left(why) => left.push((name.to_owned(), why.to_owned())),
            Fate::Carried(_, _) if value.trim().is_empty() => {
                left.push((name.to_owned(), "it is empty".to_owned()));
            }
            Fate::Carried(key, read) => {
                let value =
                    read(name, value).map_err(|why| ImportError::Variable(name.to_owned(), why))?;
                draft.set(key, value);
                carried.push((name.to_owned(), key.to_owned()));
            }
        }
    }
    let provider = if has_globus { "globus" } else { "api_key" };
    draft.set("auth.providers", vec![Toml::from(provider)]);
    Ok(Imported {
        toml: draft.into_text(),
        carried,
        left,
        problems,
        variables: environment,
    })
}

fn is_set(environment: &Environment, name: &str) -> bool {
    let value = environment.get(name);
    value.is_some_and(|value| !value.trim().is_empty())
}

/// Keys with dots, in the order in which the file shows sections.
#[derive(Default)]
struct Draft {
    root: Table,
}

impl Draft {
    fn set(&mut self, key: &str, value: impl Into<Toml>) {
        let mut path: Vec<&str> = key.split('.').collect();
        let Some(last) = path.pop() else { return };
        let mut table = &mut self.root;
        for part in path {
            let inner = table
                .entry(part)
                .or_insert_with(|| Toml::Table(Table::new()));
            let Toml::Table(inner) = inner else { return };
            table = inner;
        }
        table.insert(last.to_owned(), value.into());
    }

    fn into_text(self) -> String {
        let mut text =
            "# Made by `ostia import first`. Every key that is not here has its default.\n\
            # Secrets stay in the environment: run with --env-file.\n"
                .to_owned();
        let _ = write!(text, "\n{}", self.root);
        text
    }
}

/// The files of clusters and endpoints; one and the same for a dump.
fn fixture_files(path: &Path) -> Result<(PathBuf, PathBuf), ImportError> {
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

/// A path as the new file has to write it: relative to its own folder where that is possible.
fn path_from(target: &Path, path: &Path) -> String {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (target, path) = (whole(target), whole(path));
    let relative = target
        .parent()
        .and_then(|folder| path.strip_prefix(folder).ok());
    relative.unwrap_or(&path).display().to_string()
}

/// The variables that fixtures name: backends' keys are read from them here as there.
fn backend_keys(files: &[&Path]) -> Vec<String> {
    let mut keys = Vec::new();
    for file in files {
        let report = Report::default();
        let Ok(source) = Source::read(file, &report) else {
            continue;
        };
        let base = At::whole(Arc::new(source));
        let Ok(Value::Array(entries)) = serde_json::from_str(&base.source.text) else {
            continue;
        };
        for entry in &entries {
            let config = &entry["fields"]["config"];
            // `config` may be a text that holds JSON or Python's notation, which is the wider one but for three words.
            let inner: Value = config
                .as_str()
                .and_then(|text| {
                    serde_json::from_str(text)
                        .ok()
                        .or_else(|| Some(python::parse(text, &base).ok()?.to_value()))
                })
                .unwrap_or_else(|| config.clone());
            if let Some(name) = inner["api_key_env_name"].as_str() {
                keys.push(name.to_owned());
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests;
