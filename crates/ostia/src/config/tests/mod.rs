//! In: folders with files as sites have them, sound and broken.
//! Out: what `load` makes of them.
//! Not here: parsers by themselves, whose tests stand beside them; what is said of mistakes (`tests/mistakes`).

mod constructed;
mod entries;
mod first;
mod good;
mod hostile;
mod missing;
mod people;
mod tls;

use std::path::Path;

use tempfile::TempDir;

use super::{Environment, Loaded, Sources, load};
use crate::backend::Registry;
use crate::fleet::Fleet;

pub(super) const CLUSTERS: &str = r#"[{"model": "resource_server_async.cluster", "pk": 1, "fields": {
  "cluster_name": "c", "frameworks": ["f"], "openai_endpoints": ["chat/completions"]}}]"#;

pub(super) const ENDPOINTS: &str = r#"[{"model": "resource_server_async.endpoint", "pk": 1, "fields": {
  "cluster": "c", "framework": "f", "model": "M", "config": {"api_url": "http://127.0.0.1:9/v1"}}}]"#;

/// A folder with `ostia.toml` and the two fixtures, sound where a test does not say otherwise.
pub(super) struct Folder {
    folder: TempDir,
    pub environment: Vec<(String, String)>,
    pub env_files: Vec<&'static str>,
    pub backends: Registry,
}

impl Folder {
    pub fn new() -> Self {
        let folder = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
            env_files: Vec::new(),
            backends: Registry::default(),
        };
        folder
            .file("ostia.toml", "")
            .file("fixtures/clusters.json", CLUSTERS)
            .file("fixtures/endpoints.json", ENDPOINTS)
    }

    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub fn without(self, name: &str) -> Self {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn load(&self) -> Loaded {
        let sources = Sources {
            config: Some(self.path().join("ostia.toml")),
            env_files: self
                .env_files
                .iter()
                .map(|name| self.path().join(name))
                .collect(),
            environment: self.environment.iter().cloned().collect::<Environment>(),
            backends: self.backends.clone(),
            registered_clusters: Vec::new(),
        };
        load(&sources, &Fleet::default())
    }

    /// Problems as `check` prints them, without the folder.
    pub fn problems(&self) -> Vec<String> {
        self.shown(&self.load())
    }

    pub fn shown(&self, loaded: &Loaded) -> Vec<String> {
        let prefix = format!("{}/", self.path().display());
        loaded
            .problems
            .iter()
            .map(|problem| problem.to_string().replace(&prefix, ""))
            .collect()
    }
}

/// That one of the problems begins with `place` and holds `piece`.
pub(super) fn assert_problem(problems: &[String], place: &str, piece: &str, of: &str) {
    assert!(
        problems
            .iter()
            .any(|line| line.starts_with(place) && line.contains(piece)),
        "{of}\nwanted {place} ... {piece}\ngot {problems:#?}"
    );
}
