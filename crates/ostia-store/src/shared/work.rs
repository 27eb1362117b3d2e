//! One transaction on one connection of a pool.

use std::io::ErrorKind;
use std::time::Duration;

use ostia_core::StoreError;
use sqlx::Executor as _;
use sqlx::pool::PoolConnection;

use super::engine::{Connection, Database, Pool, Query, Row};
use super::failure::{failed, spoils};

/// A transaction in progress. If it is dropped before [`Work::end`], its connection is closed, which undoes everything.
pub(crate) struct Work {
    connection: PoolConnection<Database>,
    /// Whether statements are prepared once and kept on the connection.
    keeps_statements: bool,
    patience: Duration,
    ended: bool,
}

/// The default limit for a statement, since copies and roll-ups take long.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

impl Work {
    pub(crate) async fn begin(
        pool: &Pool,
        keeps_statements: bool,
        begin: &'static str,
    ) -> Result<Self, StoreError> {
        let mut work = Self {
            connection: pool.acquire().await.map_err(failed)?,
            keeps_statements,
            patience: PATIENCE,
            ended: false,
        };
        match work.connection.execute(begin).await {
            Ok(_) => Ok(work),
            Err(error) => work.end(Err(error)).await,
        }
    }

    /// Limits each statement. A network that drops every packet must not hold a connection for the 15 minutes that TCP
    /// takes to notice.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns how many rows were written.
    pub(crate) async fn run(&mut self, query: Query<'_>) -> sqlx::Result<u64> {
        let query = query.persistent(self.keeps_statements);
        let running = query.execute(&mut *self.connection);
        Ok(in_time(self.patience, running).await?.rows_affected())
    }

    pub(crate) async fn one(&mut self, query: Query<'_>) -> sqlx::Result<Option<Row>> {
        let query = query.persistent(self.keeps_statements);
        let asking = query.fetch_optional(&mut *self.connection);
        in_time(self.patience, asking).await
    }

    pub(crate) async fn all(&mut self, query: Query<'_>) -> sqlx::Result<Vec<Row>> {
        let query = query.persistent(self.keeps_statements);
        let asking = query.fetch_all(&mut *self.connection);
        in_time(self.patience, asking).await
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Rolls the transaction back.
    pub(crate) async fn undo(mut self) -> Result<(), StoreError> {
        let undone = self.connection.execute("ROLLBACK").await;
        self.ended = undone.is_ok();
        undone.map(drop).map_err(failed)
    }

    /// Commits if `done` is a success, or else rolls back. Some errors close the connection; the next caller then gets
    /// a new one.
    pub(crate) async fn end<T>(mut self, done: sqlx::Result<T>) -> Result<T, StoreError> {
        let ending = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let done = match done {
            Err(error) if spoils(&error) => Err(error),
            done => {
                let ended = in_time(self.patience, self.connection.execute(ending)).await;
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

/// A statement that takes too long counts as a lost connection.
async fn in_time<T>(
    patience: Duration,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(ErrorKind::TimedOut.into())),
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
