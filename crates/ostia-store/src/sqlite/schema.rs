//! Versions of the schema. Opening the file brings it up to date.

use ostia_core::StoreError;
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::failure::failed;
use crate::release::{NOTE_RELEASE, RELEASE, Schema, Standing, not_migrated};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(crate) fn latest() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

pub(super) async fn found(connection: &mut SqliteConnection) -> sqlx::Result<Schema> {
    let tables = "SELECT count(*) FILTER (WHERE name = '_sqlx_migrations'), count(*) FILTER (WHERE name = 'meta') \
                  FROM sqlite_schema WHERE type = 'table'";
    let tables = sqlx::query(tables).fetch_one(&mut *connection).await?;
    let mut schema = Schema {
        version: 0,
        release: 0,
    };
    if tables.try_get::<i64, _>(0)? > 0 {
        let version = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        let row = sqlx::query(version).fetch_one(&mut *connection).await?;
        schema.version = row.try_get(0)?;
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

/// All pending migrations in one transaction, which begins by taking the write lock: a crash leaves the old schema, and
/// of two processes that start together one waits for the other.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    let schema = found(&mut transaction).await.map_err(failed)?;
    schema.refuse_newer(latest())?;
    if schema.version < latest() {
        let done = MIGRATIONS.run_direct(None, &mut *transaction, false).await;
        done.map_err(|error| not_migrated(error, failed))?;
        let release = sqlx::query(NOTE_RELEASE).bind(RELEASE.to_string());
        release.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
