//! What the database says of itself.

use sqlx::{AssertSqlSafe, Row as _};

use super::engine::{ALONE, SHARED};
use super::work::Work;

/// The time zone of the days and months in the roll-up.
const ZONE: &str = "reports.timezone";

pub(super) async fn zone(work: &mut Work) -> sqlx::Result<String> {
    read(work, "SELECT value FROM meta WHERE name = $1".to_owned()).await
}

/// The same, and nobody changes it until the transaction ends.
pub(super) async fn held_zone(work: &mut Work) -> sqlx::Result<String> {
    let sql = format!("SELECT value FROM meta WHERE name = $1{SHARED}");
    read(work, sql).await
}

/// The same, and all who hold it are waited for: nobody writes rows until the transaction ends.
pub(super) async fn taken_zone(work: &mut Work) -> sqlx::Result<String> {
    let sql = format!("SELECT value FROM meta WHERE name = $1{ALONE}");
    read(work, sql).await
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
