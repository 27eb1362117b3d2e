//! A database's contents, read with SQL of its own.

use std::path::Path;

use ostia_core::{UsageQuery, UsageRow};
use ostia_testkit::gateway::Site;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// What must hold in every ledger: SQLite finds nothing wrong, no id stands twice, and the roll-up is the sum of the rows.
///
/// A PostgreSQL database was copied to the site's file before; its reports are those of the server itself.
pub async fn assert_sound(site: &Site) {
    let database = &site.database_path();
    let check: String = one(database, "PRAGMA integrity_check").await;
    assert_eq!(check, "ok");
    let twice: i64 = one(
        database,
        "SELECT count(*) - count(DISTINCT request_id) FROM ledger",
    )
    .await;
    assert_eq!(twice, 0, "rows that stand twice");
    let mut expected = Vec::new();
    for sum in [
        "count",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    ] {
        let sum = format!("SELECT coalesce(sum({sum}), 0) FROM ledger");
        expected.push(one::<i64>(database, &sum).await);
    }
    assert_rolled_up(&site.database_url(), &expected).await;
}

/// Reports from each level of the roll-up have all of it.
async fn assert_rolled_up(url: &str, expected: &[i64]) {
    let store = ostia_store::open(url).await.unwrap();
    for by in [
        ["user", "month"],
        ["user", "day"],
        ["model", "hour"],
        ["user", "hour"],
    ] {
        let query = UsageQuery {
            by: by.map(str::to_owned).into(),
            ..UsageQuery::default()
        };
        let mut total = UsageRow::default();
        for line in store.usage(&query).await.unwrap() {
            total.add(&line);
        }
        let sums = [
            total.requests,
            total.prompt_tokens,
            total.completion_tokens,
            total.total_tokens,
        ];
        let sums = sums.map(|sum| i64::try_from(sum).unwrap());
        assert_eq!(sums, expected, "by {by:?}");
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
