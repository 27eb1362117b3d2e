use std::sync::Arc;

use ostia::config::{Environment, Loaded, Sources};
use ostia::fleet::Fleet;
use ostia_core::Store;

use crate::arguments::Global;
use crate::failure::{Failure, chain};
use crate::output::note;

const LISTEN: &str = "OSTIA_SERVER__LISTEN";

/// Reads the configuration. `listen` is `--listen`: it wins over the file and all variables, and is checked like them.
pub fn load(global: &Global, listen: Option<&str>, fleet: &Fleet) -> Loaded {
    let mut sources = Sources {
        config: global.config.clone(),
        env_files: global.env_files.clone(),
        environment: with_listen(&Environment::of_process(), listen),
        ..Sources::default()
    };
    let loaded = ostia::config::load(&sources, fleet);
    if listen.is_none() || loaded.environment.get(LISTEN) == listen || loaded.settings.is_none() {
        return loaded;
    }
    // A file of variables said otherwise.
    sources.environment = with_listen(&loaded.environment, listen);
    sources.env_files.clear();
    ostia::config::load(&sources, fleet)
}

/// The store of the configuration, for commands that need nothing else of it: faults of fixtures do not matter to them.
pub async fn open_store(global: &Global) -> Result<Arc<dyn Store>, Failure> {
    let loaded = load(global, None, &Fleet::default());
    let Some(settings) = &loaded.settings else {
        for problem in loaded.errors() {
            note(&problem.to_string());
        }
        return Err(Failure::config(
            "the configuration has errors: `ostia check` shows all of them",
        ));
    };
    store(settings.store.url.expose()).await
}

pub async fn store(url: &str) -> Result<Arc<dyn Store>, Failure> {
    ostia_store::open(url)
        .await
        .map_err(|error| Failure::other(format!("cannot open the database: {}", chain(&error))))
}

fn with_listen(environment: &Environment, listen: Option<&str>) -> Environment {
    let given = listen.map(|address| (LISTEN.to_owned(), address.to_owned()));
    environment
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(given)
        .collect()
}
