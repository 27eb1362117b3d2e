//! In: requests for changes to people, keys and projects. Out: the result, recorded in the audit, or why not.
//! Here: every operation, once: the command line, the admin listener and the pages all call it.
//! Not here: who may ask for it (`admin`), what a request's sender may do (`identify`), SQL.

mod audit;
mod keys;
mod notices;
mod persons;
mod projects;
mod show;

use std::sync::Arc;

use jiff::Timestamp;
use ostia_core::{AuditEvent, Change, Clock, Role, Store, StoreError};
use serde_json::Value;

use crate::settings::Keys;

pub use audit::{Chain, audit_json};
pub use keys::{
    ADMIN_AGE, KeyRequest, MadeKey, check_name, check_named, check_text, check_user, network,
};
pub use notices::{EndingKey, NOTICE_DAYS};
pub use persons::UserRecord;
pub use projects::{Members, ProjectRecord, Put};
pub use show::{key_json, key_state, login_json, person_json, project_json};

/// Manages people, keys and projects on behalf of an actor.
pub struct Desk {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keys: Keys,
    actor: Actor,
}

/// The actor.
#[derive(Debug, Clone, Default)]
pub struct Actor {
    /// A username, or the account on the machine.
    pub name: String,
    /// The role in which the actor acts; empty: for oneself.
    pub role: String,
    /// Empty on the machine itself.
    pub address: String,
    pub request_id: String,
    /// What the actor gave as a reason.
    pub reason: String,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    /// It would conflict with existing data.
    #[error("{0}")]
    Conflict(String),
    #[error("the database did not take it: {0}")]
    Store(#[from] StoreError),
    #[error("the system has no randomness")]
    NoRandomness,
}

impl Desk {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, keys: Keys, actor: Actor) -> Self {
        Self {
            store,
            clock,
            keys,
            actor,
        }
    }

    /// The same with a reason for the audit.
    #[must_use]
    pub fn because(&self, reason: String) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            keys: self.keys,
            actor: Actor {
                reason,
                ..self.actor.clone()
            },
        }
    }

    /// Whether the actor may do everything.
    pub fn is_admin(&self) -> bool {
        self.actor.role == Role::Admin.as_str()
    }

    /// Unix microseconds.
    pub fn moment(&self) -> i64 {
        self.now()
    }

    fn now(&self) -> i64 {
        self.clock.unix_micros()
    }

    /// An event of this moment; `before` and `after` are `Null` if they do not apply.
    fn event(&self, action: &str, object: &str, before: &Value, after: &Value) -> AuditEvent {
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            value => value.to_string(),
        };
        AuditEvent {
            at: self.now(),
            actor: self.actor.name.clone(),
            role: self.actor.role.clone(),
            address: self.actor.address.clone(),
            action: action.to_owned(),
            object: object.to_owned(),
            before: text(before),
            after: text(after),
            reason: self.actor.reason.clone(),
            request_id: self.actor.request_id.clone(),
        }
    }

    /// Writes changes with their events, and logs them.
    async fn commit(
        &self,
        changes: &[Change],
        events: &[AuditEvent],
    ) -> Result<Vec<u64>, DeskError> {
        let touched = self.store.people().change(changes, events).await?;
        for event in events {
            tracing::info!(
                target: "ostia::audit",
                kind = &*event.action,
                object = &*event.object,
                actor = &*event.actor,
                role = &*event.role,
                address = &*event.address,
                reason = &*event.reason,
                request_id = &*event.request_id,
                "something was changed"
            );
        }
        Ok(touched)
    }

    /// Records an event for something that changes nothing here: a look at another person's requests, a drain, a
    /// reload.
    pub async fn note(&self, action: &str, object: &str, after: &Value) -> Result<(), DeskError> {
        let event = self.event(action, object, &Value::Null, after);
        self.commit(&[], &[event]).await.map(drop)
    }
}

/// RFC 3339 in UTC, to the second.
pub fn rfc3339(unix_micros: i64) -> String {
    let time = Timestamp::from_microsecond(unix_micros).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.0}")
}

/// Lower case without `i`, `l`, `o`, `u`: nothing to confuse, and no words (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_CHARACTERS: usize = 12;

/// `key_...`, `prj_...`: short, and never used twice.
fn new_id(kind: &str) -> Result<String, DeskError> {
    let mut random = [0_u8; ID_CHARACTERS];
    getrandom::fill(&mut random).map_err(|_| DeskError::NoRandomness)?;
    let characters = random.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Ok(format!("{kind}_{}", characters.iter().collect::<String>()))
}

#[cfg(test)]
mod tests;
