//! API keys: only their hashes are here.

use std::sync::Arc;

use ostia_core::{ApiKey, Identity, NewApiKey, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};

use super::failure::{broken, failed};
use super::writer::Writer;
use crate::columns::text;

const SELECT_BY_HASH: &str = "
    SELECT id, username, groups, label, project, admin, created_at, expires_at, revoked_at, last_used_at
    FROM api_keys WHERE hash = ?";

const SELECT_ALL: &str = "
    SELECT id, username, groups, label, project, admin, created_at, expires_at, revoked_at, last_used_at
    FROM api_keys ORDER BY created_at, id";

const INSERT: &str = "
    INSERT INTO api_keys (id, hash, username, groups, label, project, admin, created_at, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) async fn by_hash(
    readers: &SqlitePool,
    hash: &[u8; 32],
) -> Result<Option<ApiKey>, StoreError> {
    let row = sqlx::query(SELECT_BY_HASH)
        .bind(hash.as_slice())
        .fetch_optional(readers)
        .await
        .map_err(failed)?;
    row.as_ref().map(api_key).transpose()
}

pub(super) async fn list(readers: &SqlitePool) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query(SELECT_ALL)
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    rows.iter().map(api_key).collect()
}

pub(super) async fn create(writer: &Writer, key: &NewApiKey) -> Result<(), StoreError> {
    let groups = serde_json::to_string(&key.groups).map_err(|error| broken(error.to_string()))?;
    let mut connection = writer.lend().await?;
    let done = sqlx::query(INSERT)
        .bind(text(&key.id))
        .bind(key.hash.as_slice())
        .bind(text(&key.username))
        .bind(groups)
        .bind(text(&key.label))
        .bind(text(&key.project))
        .bind(key.admin)
        .bind(key.created_at)
        .bind(key.expires_at)
        .execute(&mut *connection)
        .await;
    connection.end(done).map(drop)
}

/// Never to a later time: a rotation must not prolong a key that was about to end.
pub(super) async fn expire(writer: &Writer, id: &str, expires_at: i64) -> Result<bool, StoreError> {
    let sql = "UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?1), ?1) WHERE id = ?2 AND revoked_at IS NULL";
    change(writer, sql, id, expires_at).await
}

pub(super) async fn revoke(writer: &Writer, id: &str, now: i64) -> Result<bool, StoreError> {
    let sql = "UPDATE api_keys SET revoked_at = ?1 WHERE id = ?2 AND revoked_at IS NULL";
    change(writer, sql, id, now).await
}

pub(super) async fn touch(writer: &Writer, used: &[(Arc<str>, i64)]) -> Result<(), StoreError> {
    if used.is_empty() {
        return Ok(());
    }
    let mut connection = writer.lend().await?;
    let done = touch_all(&mut connection, used).await;
    connection.end(done)
}

async fn touch_all(
    connection: &mut SqliteConnection,
    used: &[(Arc<str>, i64)],
) -> sqlx::Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for (id, at) in used {
        sqlx::query(
            "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, ?1), ?1) WHERE id = ?2",
        )
        .bind(*at)
        .bind(&**id)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

async fn change(writer: &Writer, sql: &'static str, id: &str, at: i64) -> Result<bool, StoreError> {
    let mut connection = writer.lend().await?;
    let done = sqlx::query(sql)
        .bind(at)
        .bind(id)
        .execute(&mut *connection)
        .await;
    Ok(connection.end(done)?.rows_affected() > 0)
}

fn api_key(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    let id: String = row.try_get("id").map_err(failed)?;
    let groups: String = row.try_get("groups").map_err(failed)?;
    // A key whose groups cannot be read must not pass as a key without groups.
    let groups: Vec<Arc<str>> = serde_json::from_str::<Vec<String>>(&groups)
        .map_err(|error| broken(format!("api_keys.groups of key {id}: {error}")))?
        .into_iter()
        .map(|group| Identity::group(&group).into())
        .collect();
    Ok(ApiKey {
        id: id.into(),
        username: shared(row, "username")?,
        groups: groups.into(),
        label: shared(row, "label")?,
        project: shared(row, "project")?,
        admin: row.try_get("admin").map_err(failed)?,
        created_at: row.try_get("created_at").map_err(failed)?,
        expires_at: row.try_get("expires_at").map_err(failed)?,
        revoked_at: row.try_get("revoked_at").map_err(failed)?,
        last_used_at: row.try_get("last_used_at").map_err(failed)?,
    })
}

fn shared(row: &SqliteRow, column: &str) -> Result<Arc<str>, StoreError> {
    let value: String = row.try_get(column).map_err(failed)?;
    Ok(value.into())
}
