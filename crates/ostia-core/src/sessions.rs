use std::fmt;

use crate::{BoxFuture, StoreError};

/// A browser session of somebody who signed in.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the token that the browser holds, so that a reader of the database cannot use the session.
    pub id: [u8; 32],
    /// The ledger's `user_id`.
    pub person: String,
    /// Who signed in, and how, as JSON.
    pub login: String,
    /// Unix microseconds.
    pub created_at: i64,
    /// The time of the last request, to the minute.
    pub seen_at: i64,
    pub expires_at: i64,
}

/// Leaves out the id, which is as good as the session itself.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("person", &self.person)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Sessions in a database, so that all replicas know them.
pub trait Sessions: Send + Sync {
    /// Writes a session, and deletes those that have expired.
    fn open<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The session with this id, even if it has expired.
    fn session<'a>(
        &'a self,
        id: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<Session>, StoreError>>;

    fn seen<'a>(&'a self, id: &'a [u8; 32], at: i64) -> BoxFuture<'a, Result<(), StoreError>>;

    fn end<'a>(&'a self, id: &'a [u8; 32]) -> BoxFuture<'a, Result<(), StoreError>>;
}
