use std::sync::Arc;

use ostia::config::{Environment, Loaded, Sources};
use ostia::fleet::Fleet;
use ostia::settings::Settings;
use ostia_core::{Secret, Store, StoreError};

use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::note;

const LISTEN: &str = "OSTIA_SERVER__LISTEN";

/// Reads the configuration. `listen` is `--listen`: it overrides the file and all variables, and is checked like them.
pub fn load(setup: &Setup, listen: Option<&str>, fleet: &Fleet) -> Loaded {
    let mut sources = Sources {
        config: setup.global.config.clone(),
        env_files: setup.global.env_files.clone(),
        environment: with_listen(&Environment::of_process(), listen),
        ..Sources::default()
    };
    let loaded = setup.adapters.load(&sources, fleet);
    if listen.is_none() || loaded.environment.get(LISTEN) == listen || loaded.settings.is_none() {
        return loaded;
    }
    // A file of variables sets another address.
    sources.environment = with_listen(&loaded.environment, listen);
    sources.env_files.clear();
    setup.adapters.load(&sources, fleet)
}

/// The settings alone, for commands that need no endpoint and ignore mistakes in single entries.
pub fn settings(setup: &Setup) -> Result<Settings, Failure> {
    let loaded = load(setup, None, &Fleet::default());
    for problem in loaded.errors().filter(|_| loaded.settings.is_none()) {
        note(&problem.to_string());
    }
    loaded.settings.ok_or_else(unsound)
}

pub fn unsound() -> Failure {
    Failure::config("the configuration has errors: `ostia check` lists all of them")
}

/// The configured store, for commands that only read or change what exists. Does not create one.
pub async fn open_existing_store(setup: &Setup) -> Result<Arc<dyn Store>, Failure> {
    existing_store(settings(setup)?.store.url.expose()).await
}

pub async fn store(url: &str) -> Result<Arc<dyn Store>, Failure> {
    ostia_store::open(url).await.map_err(not_opened)
}

pub async fn existing_store(url: &str) -> Result<Arc<dyn Store>, Failure> {
    let opened = ostia_store::open_existing(url).await;
    opened.map_err(|error| {
        let failure = not_opened(error);
        if !failure.text().ends_with("does not exist") {
            return failure;
        }
        let text = failure.text();
        Failure::other(format!(
            "{text}: `ostia key create` or `ostia serve` creates it. Is --config the one that the server uses?"
        ))
    })
}

/// A secret from the environment or from `--env-file`.
pub fn variable(setup: &Setup, name: &str) -> Result<Secret<String>, Failure> {
    let loaded = load(setup, None, &Fleet::default());
    let value = loaded.environment.get(name);
    let value = value.filter(|value| !value.is_empty());
    value
        .map(|value| Secret::new(value.to_owned()))
        .ok_or_else(|| {
            let shown = name.escape_debug();
            Failure::usage(format!(
                "the variable {shown} is not set, neither in the environment nor in a file that --env-file names"
            ))
        })
}

pub fn not_opened(error: StoreError) -> Failure {
    let (StoreError::Unavailable(text) | StoreError::Broken(text)) = error;
    // SQLite does not say why.
    let hint = match text.contains("unable to open database file") {
        true => {
            ": can this user read and write the file, and its folder? Commands run as the user of `ostia serve`"
        }
        false => "",
    };
    Failure::other(format!("cannot open the database: {text}{hint}"))
}

fn with_listen(environment: &Environment, listen: Option<&str>) -> Environment {
    let given = listen.map(|address| (LISTEN.to_owned(), address.to_owned()));
    environment
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(given)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_is_told_as_such() {
        let text = "/var/lib/ostia/ostia.db: (code: 14) unable to open database file";
        let failure = not_opened(StoreError::Unavailable(text.to_owned()));
        assert!(
            failure.text().contains("as the user of `ostia serve`"),
            "{}",
            failure.text()
        );
        let other = not_opened(StoreError::Broken("not a database".to_owned()));
        assert!(other.text().ends_with("not a database"));
    }
}
