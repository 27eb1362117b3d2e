//! A database's contents, read with SQL of its own.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// What must be true of every ledger: SQLite finds no fault, no id occurs twice, and the roll-up is the sum of the
/// rows.
pub async fn assert_sound(database: &Path) {
    let check: String = one(database, "PRAGMA integrity_check").await;
    assert_eq!(check, "ok");
    let twice: i64 = one(
        database,
        "SELECT count(*) - count(DISTINCT request_id) FROM ledger",
    )
    .await;
    assert_eq!(twice, 0, "rows that occur twice");
    for sum in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        let rows: i64 = one(
            database,
            &format!("SELECT coalesce(sum({sum}), 0) FROM ledger"),
        )
        .await;
        assert_rolled_up(database, sum, rows).await;
    }
    let rows: i64 = one(database, "SELECT coalesce(sum(count), 0) FROM ledger").await;
    assert_rolled_up(database, "requests", rows).await;
}

/// Each level of the roll-up has the whole sum.
async fn assert_rolled_up(database: &Path, sum: &str, expected: i64) {
    for level in 1..=6 {
        let rolled_up =
            format!("SELECT coalesce(sum({sum}), 0) FROM usage_sums WHERE level = {level}");
        let rolled_up: i64 = one(database, &rolled_up).await;
        assert_eq!(rolled_up, expected, "{sum} at level {level}");
    }
}

pub async fn one<T>(database: &Path, query: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    let options = SqliteConnectOptions::new()
        .filename(database)
        .disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()));
    let value = query.fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    value
}
