use clap::Args;
use ostia::identify::{generate_key, hash_key};
use ostia_core::{ApiKey, Clock as _, NewApiKey, Store, SystemClock};

use super::create::{as_json, describe, new_id, no_randomness, whole_second};
use super::{audit, rfc3339};
use crate::arguments::Setup;
use crate::commands::load::open_existing_store;
use crate::failure::{Failure, chain};
use crate::output::{note, write};
use crate::span::Span;

#[derive(Debug, Args)]
pub struct Rotate {
    /// As `ostia key list` shows it
    id: String,
    /// How long the old key stays valid
    #[arg(long, value_name = "24h", default_value = "24h")]
    overlap: Span,
    /// How long the new key is valid [default: as long as the old one was]
    #[arg(long, value_name = "30d")]
    expires: Option<Span>,
    /// Print {"id","key","user","groups","project","expires_at","replaces","old_expires_at"}
    #[arg(long)]
    json: bool,
}

impl Rotate {
    /// Creates the new key before it sets the old one's end, so that a failure in between locks nobody out.
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let store = open_existing_store(setup).await?;
        let now = SystemClock.unix_micros();
        let old = self.find(&*store, now).await?;
        let key = generate_key().map_err(no_randomness)?;
        let new = self.describe(&old, now, hash_key(key.expose()))?;
        let failed = |error| Failure::other(format!("the key was not rotated: {}", chain(&error)));
        store.create_key(&new).await.map_err(failed)?;
        let end = whole_second(now + self.overlap.micros());
        let end = old.expires_at.map_or(end, |before| before.min(end));
        let (id, replaces) = (&new.id, &old.id);
        let ended = store.expire_key(replaces, end).await;
        if !matches!(ended, Ok(true)) {
            note(&format!(
                "The old key {replaces} is still valid, because its end could not be set: `ostia key revoke {replaces}` once the new one is in use."
            ));
        }
        audit("key_rotated", id, &new.username, replaces);
        let shown = if self.json {
            let mut shown = as_json(&new, key.expose());
            shown["replaces"] = (&**replaces).into();
            shown["old_expires_at"] = rfc3339(end).into();
            format!("{shown}\n")
        } else {
            note(&format!("The old key {replaces} ends at {}.", rfc3339(end)));
            note(&describe(&new));
            format!("{}\n", key.expose())
        };
        write(&shown).map_err(|error| {
            Failure::other(format!(
                "the key was created but could not be shown ({error}): revoke it with `ostia key revoke {id}` and create another"
            ))
        })
    }

    async fn find(&self, store: &dyn Store, now: i64) -> Result<ApiKey, Failure> {
        let keys = store.list_keys().await;
        let keys = keys.map_err(|error| Failure::other(chain(&error)))?;
        let shown = self.id.escape_debug();
        let Some(old) = keys.into_iter().find(|key| *key.id == *self.id) else {
            return Err(Failure::other(format!(
                "there is no key `{shown}`: `ostia key list` shows the ids"
            )));
        };
        let over = old.revoked_at.is_some() || old.expires_at.is_some_and(|end| end <= now);
        if over {
            return Err(Failure::other(format!(
                "key `{shown}` is revoked or has expired: make a new one with `ostia key create`"
            )));
        }
        Ok(old)
    }

    fn describe(&self, old: &ApiKey, now: i64, hash: [u8; 32]) -> Result<NewApiKey, Failure> {
        let life = match self.expires {
            Some(span) => Some(span.micros()),
            None => old.expires_at.map(|end| end - old.created_at),
        };
        Ok(NewApiKey {
            id: new_id().map_err(no_randomness)?,
            hash,
            username: old.username.to_string(),
            groups: old.groups.iter().map(ToString::to_string).collect(),
            label: old.label.to_string(),
            project: old.project.to_string(),
            admin: old.admin,
            created_at: now,
            expires_at: life.map(|life| whole_second(now.saturating_add(life))),
        })
    }
}
