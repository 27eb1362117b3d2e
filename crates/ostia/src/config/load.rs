use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::hmac;

use super::effective::{SettingValue, effective};
use super::environment::Environment;
use super::fixture::{self, Context};
use super::problem::{Place, Problem, Reach, Report, Severity};
use super::reader::Reading;
use super::sections;
use super::source::{Source, Unread, folder_of};
use super::toml_file;
use super::tree::{At, Member};
use crate::backend::Registry;
use crate::catalog::Catalog;
use crate::fleet::Fleet;
use crate::scan::PrintKey;
use crate::settings::{Routing, Settings};

/// The inputs of a reading.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config` or `OSTIA_CONFIG`: must exist. `None`: `ostia.toml` in the current folder, which may be absent.
    pub config: Option<PathBuf>,
    /// `--env-file`, in order; a later one wins, and all win over `environment`.
    pub env_files: Vec<PathBuf>,
    /// The process's variables.
    pub environment: Environment,
    /// The registered backends and hooks, by name.
    pub backends: Registry,
    /// Names of cluster adapters registered from Rust.
    pub registered_clusters: Vec<String>,
}

/// The result of reading the files once.
#[derive(Debug)]
pub struct Loaded {
    /// `None` if anything in `ostia.toml` is wrong.
    pub settings: Option<Settings>,
    /// The valid part of the fixtures; faulty endpoints are in it as disabled.
    pub catalog: Catalog,
    /// In the order of the files: all mistakes of all of them.
    pub problems: Vec<Problem>,
    /// The environment that was used, with `env_files` in it.
    pub environment: Environment,
    /// Every file that was read or looked for; a change to any of them may change the outcome.
    pub files: Vec<PathBuf>,
    /// `server.state_dir`, also where something else is wrong; `None`: the file could not be parsed.
    pub state_dir: Option<PathBuf>,
    /// Every key of `ostia.toml` with its effective value.
    pub values: Vec<SettingValue>,
}

const DEFAULT_PATH: &str = "ostia.toml";

/// Reads all files. Never fails: faults are in `problems`.
pub fn load(sources: &Sources, fleet: &Fleet) -> Loaded {
    let report = Report::default();
    let environment = sources.environment.with_files(&sources.env_files, &report);
    let path = config_path(sources, &environment);
    let (table, file, parsed) = read_file(path.as_deref(), &environment, &report);
    let folder = folder_of(&file.source.path);
    // If a file has a syntax error, its consequences would only hide the error.
    let unheard = Report::default();
    let heard = if parsed { &report } else { &unheard };
    let reading = Reading::new(&environment, file, folder, heard);
    let (settings, listed) = sections::read(&reading, &table);
    let settings_sound = parsed && !report.has_fatal();
    let context = Context {
        settings: &settings,
        reading: &reading,
        backends: &sources.backends,
        clusters: &sources.registered_clusters,
        fleet,
        report: &report,
        complete: Cell::new(true),
    };
    fixture::check_adapters(&context);
    let read = fixture::read(&listed, &context);
    let aliases = &settings.catalog.aliases;
    let match_slug = settings.catalog.match_slug;
    let mut catalog = Catalog::build(read.clusters, read.deployments, aliases, match_slug);
    catalog.print_with(print_key(&settings.routing, fleet));
    let mut files = vec![path.unwrap_or_else(|| DEFAULT_PATH.into())];
    files.extend(sources.env_files.iter().cloned());
    let state_dir = parsed.then(|| settings.server.state_dir.clone());
    let values = effective(&reading, &table);
    files.extend(reading.files.into_inner());
    files.sort_unstable();
    files.dedup();
    Loaded {
        settings: settings_sound.then_some(settings),
        catalog,
        problems: in_order(report.into_problems()),
        environment,
        files,
        state_dir,
        values,
    }
}

impl Loaded {
    /// Whether the start must fail: on an error that affects more than its entry, or with `strict` on any error.
    pub fn fatal(&self, strict: bool) -> bool {
        self.settings.is_none()
            || self
                .errors()
                .any(|problem| strict || problem.scope == Reach::Fatal)
    }

    /// Whether `check` exits with 78.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
    }
}

/// The key for hashing prompts: derived from the site's secret, else random for this process.
fn print_key(routing: &Routing, fleet: &Fleet) -> PrintKey {
    let Some(secret) = &routing.hmac_key else {
        return PrintKey::new(fleet.secret());
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, b"ostia prompt prefixes");
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(tag.as_ref())
        .for_each(|(to, from)| *to = *from);
    PrintKey::new(bytes)
}

/// An empty `OSTIA_CONFIG` names nothing.
fn config_path(sources: &Sources, environment: &Environment) -> Option<PathBuf> {
    let from_environment = || {
        environment
            .get("OSTIA_CONFIG")
            .filter(|path| !path.is_empty())
    };
    sources
        .config
        .clone()
        .or_else(|| from_environment().map(PathBuf::from))
}

/// The file's table with the environment's overrides, the file's name for messages, and whether it could be parsed.
fn read_file(
    path: Option<&Path>,
    environment: &Environment,
    report: &Report,
) -> (Vec<Member>, At, bool) {
    let wanted = path.unwrap_or(Path::new(DEFAULT_PATH));
    let read = Source::read(wanted, report);
    let found = read.is_ok();
    let missing = matches!(read, Err(Unread::Missing));
    let name = wanted.display().to_string();
    let text = read.map_or_else(|_| String::new(), |source| source.text);
    let source = Arc::new(Source::settings(
        name.as_str().into(),
        wanted.to_owned(),
        text,
    ));
    let (mut table, parsed) = toml_file::parse(&source, report);
    if missing && path.is_some() {
        let text = "does not exist, but --config or OSTIA_CONFIG names it";
        report.fatal(Place::whole(&name), text);
    }
    toml_file::override_from(environment, wanted, &mut table, report);
    let sound = found || (missing && path.is_none());
    (table, At::whole(source), parsed && sound)
}

/// Sorts by file, in the order of first mention, and by place in the file.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let mut order = BTreeMap::new();
    for problem in &problems {
        let next = order.len();
        order.entry(problem.place.source.clone()).or_insert(next);
    }
    problems.sort_by_key(|problem| {
        let file = order.get(&problem.place.source).copied();
        (file, problem.place.position)
    });
    problems.dedup();
    problems
}
