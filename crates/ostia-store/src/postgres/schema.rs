//! Versions of the schema. `serve` never changes it here: one replica would change it while others use it.

use ostia_core::{Kind, StoreError, Value};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};

use super::address::Address;
use super::failure::failed;
use crate::columns::count;
use crate::migrations::POSTGRES;
use crate::release::{NOTE_RELEASE, RELEASE, Schema, Standing, missing_columns, not_migrated};

/// Held by the only process that may migrate. The number needs to be unique within the database: "ostia" in ASCII.
const LOCK: i64 = 0x006f_7374_6961;

pub(super) fn latest() -> i64 {
    let versions = POSTGRES.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// The schema of the database at a URL, and the version that this ostia needs.
pub(crate) async fn schema(url: &str) -> Result<(Schema, i64), StoreError> {
    let mut connection = connect(url).await?;
    let found = found(&mut connection).await.map_err(failed)?;
    Ok((found, latest()))
}

pub(super) async fn found(connection: &mut PgConnection) -> sqlx::Result<Schema> {
    let tables =
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL, to_regclass('meta') IS NOT NULL";
    let tables = sqlx::query(tables)
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    let mut schema = Schema {
        version: 0,
        release: 0,
        lacking: 0,
    };
    if tables.try_get(0)? {
        let version = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        let row = sqlx::query(version)
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
        schema.version = row.try_get(0)?;
        schema.lacking = lacking(&mut *connection).await?.len();
    }
    if tables.try_get(1)? {
        let release = "SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'release'";
        let row = sqlx::query(release)
            .persistent(false)
            .fetch_optional(&mut *connection)
            .await?;
        schema.release = row.map_or(Ok(0), |row| row.try_get(0))?;
    }
    Ok(schema)
}

/// The statements that add the columns that the ledger lacks.
async fn lacking(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let names = "SELECT attname::text FROM pg_attribute
        WHERE attrelid = to_regclass('ledger') AND attnum > 0 AND NOT attisdropped";
    let names = sqlx::query_scalar(names).persistent(false);
    let present: Vec<String> = names.fetch_all(connection).await?;
    Ok(missing_columns(&present, definition))
}

fn definition(kind: Kind, empty: Value<'_>) -> String {
    match (kind, empty) {
        (Kind::MaybeNumber, _) | (_, Value::Absent) => "bigint".to_owned(),
        (_, Value::Id(id)) => format!("uuid NOT NULL DEFAULT '{id}'"),
        (_, Value::Text(text) | Value::Word { text, .. }) => {
            format!("text NOT NULL DEFAULT '{text}'")
        }
        (_, Value::Stamp(micros)) => {
            format!("timestamptz NOT NULL DEFAULT to_timestamp({micros} / 1000000.0)")
        }
        (_, Value::Flag(flag)) => format!("boolean NOT NULL DEFAULT {flag}"),
        (_, Value::Number(number)) => format!("bigint NOT NULL DEFAULT {}", count(number)),
    }
}

/// All pending migrations in one transaction: a crash leaves the old schema, and of two that start together one waits
/// for the other.
pub(crate) async fn migrate(url: &str) -> Result<(), StoreError> {
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").persistent(false);
    lock.bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let schema = found(&mut transaction).await.map_err(failed)?;
    schema.refuse_newer(latest())?;
    if schema.standing(latest()) == Standing::Old {
        let mut migrations = Migrator::DEFAULT;
        migrations.migrations = POSTGRES.migrations.clone();
        // Our own lock lasts as long as the transaction, for which pgbouncer keeps one connection.
        migrations.set_locking(false);
        let done = migrations.run_direct(None, &mut *transaction, false).await;
        done.map_err(|error| not_migrated(error, failed))?;
        for statement in lacking(&mut transaction).await.map_err(failed)? {
            let add = sqlx::query(AssertSqlSafe(statement)).persistent(false);
            add.execute(&mut *transaction).await.map_err(failed)?;
        }
        let release = sqlx::query(NOTE_RELEASE)
            .persistent(false)
            .bind(RELEASE.to_string());
        release.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

async fn connect(url: &str) -> Result<PgConnection, StoreError> {
    let address = Address::parse(url)?;
    address.options.connect().await.map_err(failed)
}
