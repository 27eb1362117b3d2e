use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ostia_core::Secret;
use serde_json::{Value, json};

use super::masked;
use super::site::Site;
use crate::failure::Failure;

/// Where the agents' files and our own are.
pub(super) struct Home {
    folder: PathBuf,
    config: PathBuf,
}

/// An agent's file and its content: `None` if the file does not exist.
pub(super) struct AgentFile {
    pub path: PathBuf,
    pub render: fn(Option<&str>, &Site) -> Result<String, String>,
}

/// A file's content before and after.
pub(super) struct Change {
    path: PathBuf,
    before: Option<String>,
    after: String,
}

/// What was changed for one agent, so that it can be undone: `$XDG_CONFIG_HOME/ostia/agents/CLIENT.json`.
pub(super) struct Record {
    path: PathBuf,
    client: &'static str,
}

impl Home {
    pub fn find() -> Result<Self, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = set("HOME").map(PathBuf::from);
        let folder = folder.ok_or_else(|| Failure::usage("HOME is not set"))?;
        let config = set("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.unwrap_or_else(|| folder.join(".config"));
        Ok(Self { folder, config })
    }

    #[cfg(test)]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            config: folder.join(".config"),
        }
    }

    /// A file in the folder that a variable names, or else in a folder under HOME.
    pub fn of_agent(&self, variable: &str, usual: &str, file: &str) -> PathBuf {
        let set = std::env::var_os(variable).filter(|value| !value.is_empty());
        let folder = set.map_or_else(|| self.folder.join(usual), PathBuf::from);
        folder.join(file)
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A path under XDG_CONFIG_HOME.
    pub fn config(&self, path: &str) -> PathBuf {
        self.config.join(path)
    }
}

impl AgentFile {
    pub fn change(&self, site: &Site) -> Result<Change, Failure> {
        let before = read(&self.path)?;
        let after = (self.render)(before.as_deref(), site)
            .map_err(|why| Failure::other(format!("{}: {why}", self.path.display())))?;
        Ok(Change {
            path: self.path.clone(),
            before,
            after,
        })
    }
}

impl Change {
    /// What would be written, without the key.
    pub fn shown(&self, key: &Secret<String>) -> String {
        let what = match &self.before {
            Some(before) if *before == self.after => "is already so",
            Some(_) => "would become",
            None => "would be",
        };
        format!(
            "# {} {what}:\n{}\n",
            self.path.display(),
            masked(&self.after, key)
        )
    }
}

impl Record {
    pub fn of(home: &Home, client: &'static str) -> Self {
        let path = home.config(&format!("ostia/agents/{client}.json"));
        Self { path, client }
    }

    /// Writes the files, and records their content before. Files that are already right are not touched.
    pub fn write(&self, changes: &[Change]) -> Result<String, Failure> {
        let earlier = self.entries()?;
        let mut told = String::new();
        let mut entries = Vec::new();
        for change in changes {
            let shown = change.path.display();
            let known = earlier
                .iter()
                .find(|entry| entry["path"] == *change.path.to_string_lossy());
            // A file that we wrote has no earlier content of its owner.
            let ours = known.filter(|entry| entry["after"].as_str() == change.before.as_deref());
            let before = match ours {
                Some(entry) => entry["before"].as_str().map(str::to_owned),
                None => change.before.clone(),
            };
            if change.before.as_deref() == Some(&*change.after) {
                told.push_str(&format!("{shown} is already so\n"));
            } else {
                if let Some(text) = before.as_ref().filter(|_| ours.is_none()) {
                    write(&backup(&change.path), text)?;
                }
                write(&change.path, &change.after)?;
                told.push_str(&format!("{shown} is written\n"));
            }
            entries.push(json!({
                "path": change.path.to_string_lossy(), "before": before, "after": change.after,
            }));
        }
        write(&self.path, &Value::from(entries).to_string())?;
        Ok(told)
    }

    /// Restores the earlier files, unless somebody changed them since.
    pub fn undo(&self) -> Result<String, Failure> {
        let entries = self.entries()?;
        if entries.is_empty() {
            let client = self.client;
            return Err(Failure::usage(format!(
                "{client} was not configured by `ostia agent configure`"
            )));
        }
        let paths: Vec<PathBuf> = entries
            .iter()
            .filter_map(|entry| entry["path"].as_str().map(PathBuf::from))
            .collect();
        for (path, entry) in paths.iter().zip(&entries) {
            if read(path)?.as_deref() != entry["after"].as_str() {
                let (shown, kept) = (path.display(), backup(path));
                let kept = kept.display();
                return Err(Failure::other(format!(
                    "{shown} was changed since, so nothing was undone; what it was before is in {kept}, if it was there"
                )));
            }
        }
        let mut told = String::new();
        for (path, entry) in paths.iter().zip(&entries) {
            let shown = path.display();
            match entry["before"].as_str() {
                Some(before) => {
                    write(path, before)?;
                    told.push_str(&format!("{shown} is as it was before\n"));
                }
                None => {
                    remove(path)?;
                    told.push_str(&format!("{shown} is gone, as it was not there before\n"));
                }
            }
            remove(&backup(path))?;
        }
        remove(&self.path)?;
        Ok(told)
    }

    fn entries(&self) -> Result<Vec<Value>, Failure> {
        let Some(text) = read(&self.path)? else {
            return Ok(Vec::new());
        };
        serde_json::from_str(&text).map_err(|_| {
            Failure::other(format!(
                "{} is not what this command wrote",
                self.path.display()
            ))
        })
    }
}

fn backup(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before-ostia");
    name.into()
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::other(format!("{}: {error}", path.display()))),
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::other(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Replaces the file in one step, readable only by its owner, because it contains a key. A symbolic link stays a link,
/// as dotfiles often are.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |error: std::io::Error| Failure::other(format!("{}: {error}", target.display()));
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut folders = DirBuilder::new();
    folders
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".ostia-{}", std::process::id()));
    let new = PathBuf::from(name);
    let options = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new);
    let mut file = options.map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o600)))
        .and_then(|()| fs::rename(&new, &target));
    written.map_err(|error| {
        // If the write failed, the temporary file is removed.
        let _ = fs::remove_file(&new);
        failed(error)
    })
}
