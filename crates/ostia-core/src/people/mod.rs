//! People, their keys and projects, and the record of what was done about them; [`People`] is what a database answers.

mod audit;
mod key;
mod person;
mod project;
mod role;

pub use audit::{AuditEvent, AuditQuery, AuditRow, broken_link};
pub use key::{ApiKey, KeyChange, KeyChanges, KeyRights, NewApiKey};
pub use person::{Login, OwnName, Owner, Person, PersonState, names_somebody, owners};
pub use project::Project;
pub use role::{Role, Roles};

use std::sync::Arc;

use crate::{BoxFuture, LedgerRow, RequestId, StoreError};

/// One thing to write. Several that belong together are written in one transaction, with the events that tell of them.
#[derive(Debug, Clone)]
pub enum Change {
    CreateKey(NewApiKey),
    /// Gives a key that is not revoked an end, never a later one than it has.
    EndKey {
        id: String,
        at: i64,
    },
    RevokeKey {
        id: String,
        at: i64,
    },
    /// The owner of a key was told that it ends: the days that were left.
    NotedEnd {
        id: String,
        days: i64,
    },
    /// Somebody was vouched for. Links that an administrator made stay.
    Confirmed(Login),
    SetState {
        person: String,
        username: String,
        state: PersonState,
    },
    /// Makes one person of two: whoever was `other` is `person` from now on.
    Link {
        person: String,
        other: String,
    },
    /// Writes a project, by its id.
    Project(Project),
    /// A person accepted a version of the site's terms.
    AcceptedTerms {
        person: String,
        version: String,
        at: i64,
    },
    /// Puts a pseudonym in the place of a person everywhere but in the audit; keys are revoked.
    Erase {
        person: String,
        pseudonym: String,
        at: i64,
    },
}

/// What every replica keeps in memory of people, as of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    pub version: i64,
    /// Persons who may not use the gateway.
    pub disabled: Vec<Arc<str>>,
    /// Identities, or persons, whom an administrator linked to a person.
    pub links: Vec<(Arc<str>, Arc<str>)>,
    pub projects: Vec<Project>,
}

/// People in a database.
pub trait People: Send + Sync {
    /// All of it in one transaction: the changes, then the events, each with the hash of the one before. Gives for each
    /// change how many rows it touched. Whatever changes the [`Roster`] counts its version up.
    fn change<'a>(
        &'a self,
        changes: &'a [Change],
        events: &'a [AuditEvent],
    ) -> BoxFuture<'a, Result<Vec<u64>, StoreError>>;

    /// The version of the [`Roster`]: cheap, asked several times a second.
    fn version(&self) -> BoxFuture<'_, Result<i64, StoreError>>;

    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>>;

    /// Everybody who signed in, was listed or made a request.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Person>, StoreError>>;

    /// What is known of the owner of keys of this name.
    fn owner<'a>(&'a self, username: &'a str) -> BoxFuture<'a, Result<Owner, StoreError>>;

    /// The version of the site's terms that a person accepted last.
    fn accepted_terms<'a>(
        &'a self,
        person: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    fn audit<'a>(
        &'a self,
        query: &'a AuditQuery,
    ) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>>;

    /// Hands out rows of the ledger of one user id, in the order of their ids: at most `limit` of those behind `after`. Gives
    /// the id of the last, where there may be more.
    fn rows_of<'a>(
        &'a self,
        user_id: &'a str,
        after: Option<RequestId>,
        limit: u32,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RequestId>, StoreError>>;
}
