//! A temporary installation, for commands that serve for a short time: a folder with a database and one key.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ostia::boot::{Parts, Running, Sockets, StartError};
use ostia::catalog::Catalog;
use ostia::config::{Environment, Sources};
use ostia::fleet::Fleet;
use ostia::identify::{generate_key, hash_key};
use ostia::settings::{ListenAddress, Settings};
use ostia_core::{Clock as _, NewApiKey, Secret, Store, SystemClock};
use tempfile::TempDir;

use super::load::store;
use crate::arguments::Setup;
use crate::failure::{Failure, chain};
use crate::output::note;

/// What must live as long as the gateway.
pub struct Trial {
    pub key: Secret<String>,
    store: Arc<dyn Store>,
    folder: TempDir,
    _cleaner: Option<Child>,
}

/// The user of the key.
pub struct Holder {
    pub username: String,
    pub groups: Vec<String>,
}

impl Trial {
    pub async fn new(holder: Holder) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("ostia-trial-").tempdir();
        let folder = folder.map_err(|error| {
            Failure::other(format!(
                "no temporary folder can be made: {}",
                chain(&error)
            ))
        })?;
        let database = folder.path().join("ostia.db");
        let store = store(&format!("sqlite://{}", database.display())).await?;
        Ok(Self {
            key: make_key(&*store, holder).await?,
            store,
            _cleaner: remove_when_killed(folder.path()).ok(),
            folder,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::other(format!("{}: {error}", path.display())))?;
        Ok(path)
    }

    /// Reads a configuration for this installation. Uses only the given variables, not the process's.
    pub fn load(
        &self,
        setup: &Setup,
        config: PathBuf,
        environment: Environment,
        fleet: &Fleet,
    ) -> Result<(Settings, Catalog), Failure> {
        let sources = Sources {
            config: Some(config),
            environment,
            ..Sources::default()
        };
        let loaded = setup.adapters.load(&sources, fleet);
        let fatal = loaded.fatal(true);
        for problem in loaded.errors() {
            note(&problem.to_string());
        }
        match loaded.settings {
            Some(settings) if !fatal => Ok((settings, loaded.catalog)),
            _ => Err(Failure::config("this cannot be served")),
        }
    }

    /// Serves settings and catalog on the given address, with the folder's own database and state.
    pub async fn serve(
        &self,
        setup: &Setup,
        mut settings: Settings,
        catalog: Catalog,
        fleet: Arc<Fleet>,
        listen: ListenAddress,
    ) -> Result<Running, StartError> {
        settings.server.listen = listen;
        settings.server.admin_listen = any_port();
        self.folder
            .path()
            .clone_into(&mut settings.server.state_dir);
        let parts = Parts {
            settings,
            catalog,
            fleet,
            store: Arc::clone(&self.store),
            clock: Arc::new(SystemClock),
            limiter: None,
            disk: None,
            files: None,
            sockets: Sockets::Bind,
        };
        Running::start_with(parts, setup.adapters.registry().clone()).await
    }
}

/// Any free port on loopback.
pub fn any_port() -> ListenAddress {
    ListenAddress::Tcp(([127, 0, 0, 1], 0).into())
}

/// A killed process cannot remove its files, so a shell does: its input ends when this process ends, however that
/// happens. It runs in a process group of its own, so that Ctrl-C does not reach it.
fn remove_when_killed(folder: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", "read -r line; exec rm -rf -- \"$1\"", "ostia-trial"])
        .arg(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

async fn make_key(store: &dyn Store, holder: Holder) -> Result<Secret<String>, Failure> {
    let key = generate_key()
        .map_err(|error| Failure::other(format!("the system has no randomness: {error}")))?;
    let new = NewApiKey {
        id: "key_trial".to_owned(),
        hash: hash_key(key.expose()),
        username: holder.username,
        groups: holder.groups,
        label: "trial".to_owned(),
        created_at: SystemClock.unix_micros(),
        ..NewApiKey::default()
    };
    store
        .create_key(&new)
        .await
        .map_err(|error| Failure::other(format!("the key was not created: {}", chain(&error))))?;
    Ok(key)
}
