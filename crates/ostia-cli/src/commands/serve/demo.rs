//! `ostia serve --demo`: an installation in a temporary folder around a simulated backend.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ostia::boot::{Parts, Running, StartError};
use ostia::config::{Environment, Loaded, Sources};
use ostia::demo::{self, MODELS, Pace, write_site};
use ostia::fleet::Fleet;
use ostia::identify::{generate_key, hash_key};
use ostia_core::{Clock as _, NewApiKey, Secret, Store, SystemClock};
use tempfile::TempDir;

use super::not_started;
use crate::commands::load::store;
use crate::failure::{Failure, chain};
use crate::output::print;

const LISTEN: &str = "OSTIA_SERVER__LISTEN";
const USUAL: &str = "127.0.0.1:8000";
const ANY: &str = "127.0.0.1:0";
const USER: &str = "demo@localhost";

/// What has to live as long as the gateway.
pub(super) struct Demo {
    key: Secret<String>,
    _backend: demo::Demo,
    _folder: TempDir,
    _cleaner: Option<Child>,
}

impl Demo {
    /// On the address that was asked for; else on the usual one, or, if somebody has that, on any.
    pub(super) async fn start(
        listen: Option<&str>,
        tokens_per_second: u32,
    ) -> Result<(Self, Running), Failure> {
        if listen.is_some_and(|listen| listen.starts_with("unix:")) {
            return Err(Failure::usage(
                "--demo prints lines to paste, which need a port: --listen 127.0.0.1:8000",
            ));
        }
        let (demo, parts) = Self::prepare(listen.unwrap_or(USUAL), tokens_per_second).await?;
        match Running::start(parts).await {
            Err(StartError::Listen { .. }) if listen.is_none() => drop(demo),
            started => return Ok((demo, started.map_err(|error| not_started(&error))?)),
        }
        let (demo, parts) = Self::prepare(ANY, tokens_per_second).await?;
        let running = Running::start(parts).await;
        Ok((demo, running.map_err(|error| not_started(&error))?))
    }

    /// The parts of a gateway, read from files like any other's. The process's variables do not count.
    async fn prepare(listen: &str, tokens_per_second: u32) -> Result<(Self, Parts), Failure> {
        let clock: Arc<SystemClock> = Arc::default();
        let pace = Pace::tokens_per_second(tokens_per_second);
        let failed = |what: &str, error: &dyn std::error::Error| {
            Failure::other(format!("{what}: {}", chain(error)))
        };
        let folder = tempfile::Builder::new()
            .prefix("ostia-demo-")
            .tempdir()
            .map_err(|error| failed("no temporary folder", &error))?;
        let backend = demo::Demo::start(pace, Arc::<SystemClock>::clone(&clock))
            .await
            .map_err(|error| failed("the simulated backend does not start", &error))?;
        let config = write_site(&backend, folder.path())
            .map_err(|error| failed("the temporary folder cannot be written", &error))?;
        let sources = Sources {
            config: Some(config),
            environment: Environment::from_iter([(LISTEN.to_owned(), listen.to_owned())]),
            ..Sources::default()
        };
        let fleet = Arc::<Fleet>::default();
        let Loaded {
            settings, catalog, ..
        } = ostia::config::load(&sources, &fleet);
        let settings = settings.ok_or_else(|| Failure::config("--listen cannot be used"))?;
        let store = store(settings.store.url.expose()).await?;
        let key = make_key(&*store).await?;
        let demo = Self {
            key,
            _backend: backend,
            _cleaner: remove_when_killed(folder.path()).ok(),
            _folder: folder,
        };
        let parts = Parts {
            settings,
            catalog,
            fleet,
            store,
            clock,
            limiter: None,
            disk: None,
        };
        Ok((demo, parts))
    }

    /// What to paste, on stdout.
    pub(super) fn announce(&self, running: &Running) -> Result<(), Failure> {
        match running.address() {
            Some(address) => print(&hints(&format!("http://{address}"), self.key.expose())),
            None => Ok(()),
        }
    }
}

/// A killed process removes nothing, so a shell does: its input ends when this process does, however that comes. It is in
/// a group of its own, where Ctrl-C does not reach it.
fn remove_when_killed(folder: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", "read -r line; exec rm -rf -- \"$1\"", "ostia-demo"])
        .arg(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

async fn make_key(store: &dyn Store) -> Result<Secret<String>, Failure> {
    let key = generate_key()
        .map_err(|error| Failure::other(format!("the system has no randomness: {error}")))?;
    let new = NewApiKey {
        id: "key_demo".to_owned(),
        hash: hash_key(key.expose()),
        username: USER.to_owned(),
        groups: Vec::new(),
        label: "demo".to_owned(),
        project: String::new(),
        admin: false,
        created_at: SystemClock.unix_micros(),
        expires_at: None,
    };
    store
        .create_key(&new)
        .await
        .map_err(|error| Failure::other(format!("the key was not made: {}", chain(&error))))?;
    Ok(key)
}

fn hints(url: &str, key: &str) -> String {
    let model = demo::MODEL;
    let mut text = format!(
        r#"Ostia serves a simulated model on {url}; all of it is gone when you press Ctrl-C.

curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'

With an OpenAI client (add "stream": true above to see tokens come one by one):

export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}
python3 -c 'from openai import OpenAI; print(OpenAI().chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello"}}]).choices[0].message.content)'

Models:
"#
    );
    for model in &MODELS {
        text.push_str(&format!("  {:<22} {}\n", model.name, model.what));
    }
    text.push_str(&format!("Routes: {url}/docs\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::hints;

    #[test]
    fn the_curl_line_is_one_line_with_the_key_in_it() {
        let text = hints("http://127.0.0.1:1", "sk-ostia-x");
        let line = text.lines().find(|line| line.starts_with("curl ")).unwrap();
        assert!(line.contains("Bearer sk-ostia-x\"") && line.ends_with("}'"));
    }
}
