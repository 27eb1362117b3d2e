use std::fmt;

use crate::{BoxFuture, StoreError};

/// A browser that somebody signed in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of what the browser shows: whoever reads the database cannot show it.
    pub id: [u8; 32],
    /// The ledger's `user_id`.
    pub person: String,
    /// Who signed in and how, as JSON.
    pub login: String,
    /// Unix microseconds.
    pub created_at: i64,
    /// Of the last request, to the minute.
    pub seen_at: i64,
    pub expires_at: i64,
}

/// Without the way to find it, which is as good as the session.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("person", &self.person)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Sessions in a database, so that every replica knows them.
pub trait Sessions: Send + Sync {
    /// Writes a session, and clears away those that are over.
    fn open<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The session of this id, also one that is over.
    fn session<'a>(
        &'a self,
        id: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<Session>, StoreError>>;

    fn seen<'a>(&'a self, id: &'a [u8; 32], at: i64) -> BoxFuture<'a, Result<(), StoreError>>;

    fn end<'a>(&'a self, id: &'a [u8; 32]) -> BoxFuture<'a, Result<(), StoreError>>;
}
