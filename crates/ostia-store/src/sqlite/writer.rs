use std::ops::{Deref, DerefMut};

use ostia_core::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::failure::{failed, spoils};

/// The connection for one kind of write. SQLite allows one writer at a time: a pool of one connection queues writes fairly,
/// where several would spin on its lock.
pub(super) struct Writer(SqlitePool);

/// The connection, until [`Lent::end`].
pub(super) struct Lent(PoolConnection<Sqlite>);

impl Writer {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self(pool)
    }

    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        self.0.acquire().await.map(Lent).map_err(failed)
    }
}

impl Lent {
    /// Gives the result of what was done with the connection. Some errors close it, and the next caller gets a new one.
    pub(super) fn end<T>(mut self, done: sqlx::Result<T>) -> Result<T, StoreError> {
        if done.as_ref().err().is_some_and(spoils) {
            self.0.close_on_drop();
        }
        done.map_err(failed)
    }
}

impl Deref for Lent {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}
