//! Facts that the database keeps about itself.

use sqlx::{AssertSqlSafe, Row as _};

use super::engine::{ALONE, SHARED};
use super::work::Work;

/// The time zone of the days and months in the roll-up.
const ZONE: &str = "reports.timezone";

pub(super) async fn zone(work: &mut Work) -> sqlx::Result<String> {
    read(work, "SELECT value FROM meta WHERE name = $1".to_owned()).await
}

/// The same, and keeps others from changing it until the transaction ends.
pub(super) async fn held_zone(work: &mut Work) -> sqlx::Result<String> {
    let sql = format!("SELECT value FROM meta WHERE name = $1{SHARED}");
    read(work, sql).await
}

/// The same, and waits for all who hold it: nobody can write rows until the transaction ends.
pub(super) async fn taken_zone(work: &mut Work) -> sqlx::Result<String> {
    let sql = format!("SELECT value FROM meta WHERE name = $1{ALONE}");
    read(work, sql).await
}

/// How far some work has come; 0 at first.
pub(super) async fn position(work: &mut Work, name: &'static str) -> sqlx::Result<i64> {
    let text = value(work, name).await?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The value stored under a name. Nobody else can change it until the transaction ends.
pub(super) async fn value(work: &mut Work, name: &'static str) -> sqlx::Result<Option<String>> {
    let sql = format!("SELECT value FROM meta WHERE name = $1{ALONE}");
    let found = work.one(sqlx::query(AssertSqlSafe(sql)).bind(name)).await?;
    found.map(|row| row.try_get(0)).transpose()
}

pub(super) async fn set(work: &mut Work, name: &'static str, value: &str) -> sqlx::Result<()> {
    let upsert = "INSERT INTO meta (name, value) VALUES ($1, $2) \
                  ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let query = sqlx::query(upsert).bind(name).bind(value.to_owned());
    work.run(query).await.map(drop)
}

pub(super) async fn set_zone(work: &mut Work, zone: &str) -> sqlx::Result<()> {
    let update = "UPDATE meta SET value = $1 WHERE name = $2";
    let query = sqlx::query(update).bind(zone.to_owned()).bind(ZONE);
    work.run(query).await.map(drop)
}

async fn read(work: &mut Work, sql: String) -> sqlx::Result<String> {
    let query = sqlx::query(AssertSqlSafe(sql)).bind(ZONE);
    match work.one(query).await? {
        Some(row) => row.try_get(0),
        None => Ok("UTC".into()),
    }
}
