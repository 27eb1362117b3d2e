//! One transaction, on one connection of a pool.

use ostia_core::StoreError;
use sqlx::Executor as _;
use sqlx::pool::PoolConnection;

use super::engine::{Connection, Database, Pool, Query, Row};
use super::failure::{failed, spoils};

/// A transaction that is under way. One that is dropped before [`Work::end`] takes its connection with it, so that whatever
/// it did is undone.
pub(crate) struct Work {
    connection: PoolConnection<Database>,
    /// Whether statements are prepared once and kept on the connection.
    keeps_statements: bool,
    ended: bool,
}

impl Work {
    pub(crate) async fn begin(
        pool: &Pool,
        keeps_statements: bool,
        begin: &'static str,
    ) -> Result<Self, StoreError> {
        let mut connection = pool.acquire().await.map_err(failed)?;
        let begun = connection.execute(begin).await;
        let work = Self {
            connection,
            keeps_statements,
            ended: false,
        };
        match begun {
            Ok(_) => Ok(work),
            Err(error) => work.end(Err(error)).await,
        }
    }

    /// Gives how many rows were written.
    pub(crate) async fn run(&mut self, query: Query<'_>) -> sqlx::Result<u64> {
        let query = query.persistent(self.keeps_statements);
        let done = query.execute(&mut *self.connection).await?;
        Ok(done.rows_affected())
    }

    pub(crate) async fn one(&mut self, query: Query<'_>) -> sqlx::Result<Option<Row>> {
        let query = query.persistent(self.keeps_statements);
        query.fetch_optional(&mut *self.connection).await
    }

    pub(crate) async fn all(&mut self, query: Query<'_>) -> sqlx::Result<Vec<Row>> {
        let query = query.persistent(self.keeps_statements);
        query.fetch_all(&mut *self.connection).await
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Undoes what was done.
    pub(crate) async fn undo(mut self) -> Result<(), StoreError> {
        let undone = self.connection.execute("ROLLBACK").await;
        self.ended = undone.is_ok();
        undone.map(drop).map_err(failed)
    }

    /// Commits what was done, or undoes it where it failed. Some errors close the connection, and the next caller gets a
    /// new one.
    pub(crate) async fn end<T>(mut self, done: sqlx::Result<T>) -> Result<T, StoreError> {
        let ending = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let done = match done {
            Err(error) if spoils(&error) => Err(error),
            done => {
                let ended = self.connection.execute(ending).await;
                self.ended = ended.is_ok();
                match (done, ended) {
                    (Ok(_), Err(error)) => Err(error),
                    (done, _) => done,
                }
            }
        };
        done.map_err(failed)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
