use std::sync::Arc;

use ostia::people::{Actor, Desk, DeskError};
use ostia_core::SystemClock;

use super::load;
use crate::arguments::Setup;
use crate::failure::{Failure, chain};

/// The desk for people, keys and projects. Whoever can read the configuration and the database may use it. Creates the
/// database if it does not exist.
pub async fn open(setup: &Setup) -> Result<Desk, Failure> {
    let settings = load::settings(setup)?;
    let store = load::store(settings.store.url.expose()).await?;
    let clock = Arc::new(SystemClock);
    Ok(Desk::new(store, clock, settings.keys, actor()))
}

/// The same, but the database must exist: for commands that only read, or change what exists.
pub async fn existing(setup: &Setup) -> Result<Desk, Failure> {
    because(setup, "").await
}

/// The same, with a reason for the audit log.
pub async fn because(setup: &Setup, reason: &str) -> Result<Desk, Failure> {
    let settings = load::settings(setup)?;
    let store = load::existing_store(settings.store.url.expose()).await?;
    let actor = Actor {
        reason: reason.to_owned(),
        ..actor()
    };
    Ok(Desk::new(
        store,
        Arc::new(SystemClock),
        settings.keys,
        actor,
    ))
}

/// An account that can read the files may do everything.
fn actor() -> Actor {
    Actor {
        name: format!("uid:{}", rustix::process::getuid().as_raw()),
        role: "admin".to_owned(),
        ..Actor::default()
    }
}

impl From<DeskError> for Failure {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Invalid(text) => Self::usage(text),
            error => Self::other(chain(&error)),
        }
    }
}
