//! The types that the SQL of `people` is compiled with.

use sqlx::Sqlite;
use sqlx::sqlite::SqliteArguments;

pub(super) use super::failure::failed;
pub(super) use sqlx::SqliteConnection as Connection;
pub(super) use sqlx::SqlitePool as Pool;
pub(super) use sqlx::sqlite::SqliteRow as Row;

pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// The write lock first: a transaction that begins by reading may find that it can never write.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// Whoever has begun is the only one who writes.
pub(super) async fn lock(_: &mut Connection) -> sqlx::Result<()> {
    Ok(())
}
