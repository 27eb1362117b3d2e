//! From a FIRST installation's `.env` and fixtures to an `ostia.toml`. The new file only refers to fixtures and names
//! the variables of secrets; both stay where they are.

mod aliases;
mod changes;
mod fixtures;
mod variables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::{Table, Value as Toml};

use super::environment::Environment;
use super::problem::{Place, Problem, Reach, Report};
pub use changes::{Changes, changes};
use fixtures::{Entry, entries, fixture_files};
use variables::{AFFINITY_KEY, Fate, LEGACY_SLUGS, fate_of};
pub use variables::{FirstVariable, first_variables};

/// The result of importing an installation.
#[derive(Debug)]
pub struct Imported {
    /// The text of the new `ostia.toml`. No secret is in it.
    pub toml: String,
    /// Variable, and the key that has its value now.
    pub carried: Vec<(String, String)>,
    /// Variable, and why it is not carried over.
    pub left: Vec<(String, String)>,
    /// Faults of the dotenv files, each with its place, and everything that the new file allows and FIRST did not.
    pub problems: Vec<Problem>,
    /// The content of the dotenv files. They are read once, because one may be a pipe.
    pub variables: Environment,
}

/// The reason not to write a file: an unreadable rule must not be lost.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(
        "{0}: there are neither clusters.json and endpoints.json nor one dump (manage.py dumpdata > dump.json)"
    )]
    NoFixtures(PathBuf),
    /// Each with its name.
    #[error("{}", .0.join("; "))]
    Variables(Vec<String>),
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
    let (clusters, endpoints) = fixture_files(fixtures)?;
    let mut draft = Draft::as_first();
    draft.set("fixtures.clusters", path_from(target, &clusters));
    draft.set("fixtures.endpoints", path_from(target, &endpoints));
    let provider = if has_globus { "globus" } else { "api_key" };
    draft.set("auth.providers", vec![Toml::from(provider)]);
    let mut imported = Imported {
        toml: String::new(),
        carried: Vec::new(),
        left: Vec::new(),
        problems,
        variables: environment,
    };
    imported.carry(&mut draft, &entries(&[&clusters, &endpoints]))?;
    imported.toml = draft.into_text();
    Ok(imported)
}

impl Imported {
    /// Copies each variable to its key in the draft, or reports why not.
    fn carry(&mut self, draft: &mut Draft, entries: &[Entry]) -> Result<(), ImportError> {
        let mut faults = Vec::new();
        for (name, value) in self.variables.iter() {
            let told = |what: &str| (name.to_owned(), what.to_owned());
            if entries.iter().any(|entry| entry.names_variable(name)) {
                self.carried.push(told("the endpoints that name it"));
                continue;
            }
            let (key, read) = match fate_of(name) {
                Fate::Left(why) => {
                    self.left.push(told(why));
                    continue;
                }
                Fate::Carried(key, read) => (key, read),
            };
            if let Some(why) = unfit(name, value) {
                self.left.push(told(why));
                continue;
            }
            let mut value = match read(name, value) {
                Ok(value) => value,
                Err(why) => {
                    faults.push(format!("{name} cannot be read as it should: {why}"));
                    continue;
                }
            };
            if name == LEGACY_SLUGS {
                let made = aliases::of(&value, entries);
                self.left.extend(made.left.iter().map(|why| told(why)));
                value = made.aliases.into();
            }
            if value.as_table().is_some_and(Table::is_empty) {
                continue;
            }
            draft.set(key, value);
            self.carried.push(told(key));
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(ImportError::Variables(faults)),
        }
    }
}

/// Why a value has no effect, in FIRST either.
fn unfit(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim();
    match name {
        _ if value.is_empty() => Some("it is empty"),
        AFFINITY_KEY if value.len() < 32 => Some(
            "it is shorter than 32 bytes, and endpoints of Minerva are disabled without it: make one with \
             `openssl rand -base64 48`",
        ),
        _ => None,
    }
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
    /// FIRST's defaults that differ from Ostia's.
    fn as_first() -> Self {
        let mut draft = Self::default();
        draft.set("catalog.match", "slug");
        draft.set("limits.tpm_model", 100_000);
        draft.set("limits.tpm_user", 60_000);
        draft.set("limits.requests_per_second_per_user", 10);
        draft.set("limits.max_in_flight_per_user", 0);
        // FIRST listens on loopback, behind an nginx of the same machine.
        let nginx = ["127.0.0.1/32", "::1/128"].map(Toml::from);
        draft.set("server.trusted_proxies", nginx.to_vec());
        draft
    }

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
            # Secrets stay in the environment: run with --env-file.\n\
            # The limits are FIRST's. server.trusted_proxies: where FIRST's nginx stands, whose X-Forwarded-For is believed;\n\
            # if it runs on another machine or in a container, write its address there.\n"
                .to_owned();
        let _ = write!(text, "\n{}", self.root);
        text
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

#[cfg(test)]
mod tests;
