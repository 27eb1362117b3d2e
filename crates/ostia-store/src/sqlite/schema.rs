//! Versions of the schema. Opening the file brings it up to date.

use ostia_core::{Kind, StoreError, Value};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::failure::failed;
use crate::columns::count;
use crate::migrations::SQLITE;
use crate::release::{NOTE_RELEASE, RELEASE, Schema, Standing, missing_columns, not_migrated};

pub(crate) fn latest() -> i64 {
    let versions = SQLITE.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

pub(super) async fn found(connection: &mut SqliteConnection) -> sqlx::Result<Schema> {
    let tables = "SELECT count(*) FILTER (WHERE name = '_sqlx_migrations'), count(*) FILTER (WHERE name = 'meta') \
                  FROM sqlite_schema WHERE type = 'table'";
    let tables = sqlx::query(tables).fetch_one(&mut *connection).await?;
    let mut schema = Schema {
        version: 0,
        release: 0,
        lacking: 0,
    };
    if tables.try_get::<i64, _>(0)? > 0 {
        let version = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        let row = sqlx::query(version).fetch_one(&mut *connection).await?;
        schema.version = row.try_get(0)?;
        schema.lacking = lacking(&mut *connection).await?.len();
    }
    if tables.try_get::<i64, _>(1)? > 0 {
        let release = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'release'";
        let row = sqlx::query(release)
            .fetch_optional(&mut *connection)
            .await?;
        schema.release = row.map_or(Ok(0), |row| row.try_get(0))?;
    }
    Ok(schema)
}

/// Brings the schema up to date if it is old. Otherwise takes no lock, so it does not wait for a process that writes.
pub(super) async fn bring_up_to_date(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let schema = found(connection).await.map_err(failed)?;
    schema.refuse_newer(latest())?;
    match schema.standing(latest()) {
        Standing::Old => migrate(connection).await,
        Standing::Fits | Standing::Newer => Ok(()),
    }
}

/// The statements that add the columns that the ledger lacks.
async fn lacking(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let names = "SELECT name FROM pragma_table_info('ledger')";
    let present: Vec<String> = sqlx::query_scalar(names).fetch_all(connection).await?;
    Ok(missing_columns(&present, definition))
}

fn definition(kind: Kind, empty: Value<'_>) -> String {
    let text = |text: &str| format!("TEXT NOT NULL DEFAULT '{text}'");
    let number = |number: i64| format!("INTEGER NOT NULL DEFAULT {number}");
    match (kind, empty) {
        (Kind::MaybeNumber, _) | (_, Value::Absent) => "INTEGER".to_owned(),
        (_, Value::Id(id)) => text(&id.to_string()),
        (_, Value::Text(word) | Value::Word { text: word, .. }) => text(word),
        (_, Value::Stamp(micros)) => number(micros),
        (_, Value::Flag(flag)) => number(flag.into()),
        (_, Value::Number(value)) => number(count(value)),
    }
}

/// All pending migrations in one transaction, which begins by taking the write lock: a crash leaves the old schema, and
/// of two processes that start together one waits for the other.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    let schema = found(&mut transaction).await.map_err(failed)?;
    schema.refuse_newer(latest())?;
    if schema.standing(latest()) == Standing::Old {
        let done = SQLITE.run_direct(None, &mut *transaction, false).await;
        done.map_err(|error| not_migrated(error, failed))?;
        for statement in lacking(&mut transaction).await.map_err(failed)? {
            let add = sqlx::query(AssertSqlSafe(statement));
            add.execute(&mut *transaction).await.map_err(failed)?;
        }
        let release = sqlx::query(NOTE_RELEASE).bind(RELEASE.to_string());
        release.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
