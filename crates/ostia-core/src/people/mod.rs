//! People, their keys and projects, and the audit log of changes to them. A database implements [`People`].

mod audit;
mod key;
mod person;
mod project;
mod role;

pub use audit::{AuditEvent, AuditQuery, AuditRow, broken_link};
pub use key::{ApiKey, KeyChange, KeyChanges, KeyRights, NewApiKey};
pub use person::{Login, Owner, Person, PersonState};
pub use project::Project;
pub use role::{Role, Roles};

use std::sync::Arc;

use crate::{BoxFuture, LedgerRow, RequestId, StoreError};

/// A single change. Changes that belong together are written in one transaction, with their audit events.
#[derive(Debug, Clone)]
pub enum Change {
    CreateKey(NewApiKey),
    /// Sets the end of a key that is not revoked, but never later than its present end.
    EndKey {
        id: String,
        at: i64,
    },
    RevokeKey {
        id: String,
        at: i64,
    },
    /// The owner of a key was warned that it ends, this many days before.
    NotedEnd {
        id: String,
        days: i64,
    },
    /// Somebody was vouched for. Links made by an administrator are kept.
    Confirmed(Login),
    SetState {
        person: String,
        username: String,
        state: PersonState,
    },
    /// Merges two persons: whoever was `other` is `person` from now on.
    Link {
        person: String,
        other: String,
    },
    /// Writes a project, identified by its id.
    Project(Project),
    /// A person accepted a version of the site's terms.
    AcceptedTerms {
        person: String,
        version: String,
        at: i64,
    },
    /// Replaces a person by a pseudonym everywhere but in the audit log; keys are revoked.
    Erase {
        person: String,
        pseudonym: String,
        at: i64,
    },
}

/// The facts about people that every replica keeps in memory, as of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    pub version: i64,
    /// Persons whose accounts are disabled.
    pub disabled: Vec<Arc<str>>,
    /// Identities or persons that an administrator linked to a person.
    pub links: Vec<(Arc<str>, Arc<str>)>,
    pub projects: Vec<Project>,
}

/// People in a database.
pub trait People: Send + Sync {
    /// Writes all changes, then the events, each with the hash of the one before, in one transaction. Returns how many
    /// rows each change touched. Every change to the [`Roster`] increments its version.
    fn change<'a>(
        &'a self,
        changes: &'a [Change],
        events: &'a [AuditEvent],
    ) -> BoxFuture<'a, Result<Vec<u64>, StoreError>>;

    /// The version of the [`Roster`]. Cheap, because it is asked several times a second.
    fn version(&self) -> BoxFuture<'_, Result<i64, StoreError>>;

    fn roster(&self) -> BoxFuture<'_, Result<Roster, StoreError>>;

    /// Everybody who signed in, was listed by an administrator, or made a request.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Person>, StoreError>>;

    /// What is known about the owner of keys made for this username.
    fn owner<'a>(&'a self, username: &'a str) -> BoxFuture<'a, Result<Owner, StoreError>>;

    /// The version of the site's terms that a person last accepted.
    fn accepted_terms<'a>(
        &'a self,
        person: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    fn audit<'a>(
        &'a self,
        query: &'a AuditQuery,
    ) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>>;

    /// Passes rows of one user id to `take`, in the order of their ids: at most `limit` rows after `after`. Returns the
    /// id of the last row if there may be more.
    fn rows_of<'a>(
        &'a self,
        user_id: &'a str,
        after: Option<RequestId>,
        limit: u32,
        take: &'a mut (dyn FnMut(&LedgerRow<'_>) + Send),
    ) -> BoxFuture<'a, Result<Option<RequestId>, StoreError>>;
}
