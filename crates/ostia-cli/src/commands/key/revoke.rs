use clap::Args;
use ostia_core::{Clock as _, SystemClock};

use super::audit;
use crate::arguments::Setup;
use crate::commands::load::open_existing_store;
use crate::failure::{Failure, chain};
use crate::output::note;

#[derive(Debug, Args)]
pub struct Revoke {
    /// As `ostia key list` shows it
    id: String,
}

impl Revoke {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let id = &self.id;
        let failed = |error| Failure::other(chain(&error));
        let store = open_existing_store(setup).await?;
        let now = SystemClock.unix_micros();
        if store.revoke_key(id, now).await.map_err(failed)? {
            audit("key_revoked", id, "", "");
            note(&format!(
                "Key {id} is revoked; a running gateway refuses it within a second."
            ));
            return Ok(());
        }
        let keys = store.list_keys().await.map_err(failed)?;
        if keys.iter().any(|key| *key.id == **id) {
            note(&format!("Key {id} was revoked before."));
            return Ok(());
        }
        let shown = id.escape_debug();
        Err(Failure::other(format!(
            "there is no key `{shown}`: `ostia key list` shows the ids"
        )))
    }
}
