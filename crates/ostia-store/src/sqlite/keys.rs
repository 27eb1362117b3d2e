//! API keys: only their hashes are here.

use std::sync::Arc;

use ostia_core::{ApiKey, Identity, KeyRights, NewApiKey, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};

use super::failure::{broken, failed};
use super::writer::Writer;
use crate::columns::text;

const SELECT_BY_HASH: &str = "
    SELECT id, username, groups, label, project, rights, created_at, confirmed_at, expires_at, revoked_at, last_used_at,
        noted_days
    FROM api_keys WHERE hash = ?";

const SELECT_ALL: &str = "
    SELECT id, username, groups, label, project, rights, created_at, confirmed_at, expires_at, revoked_at, last_used_at,
        noted_days
    FROM api_keys ORDER BY created_at, id";

const INSERT: &str = "
    INSERT INTO api_keys (id, hash, username, groups, label, project, rights, created_at, confirmed_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)";

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
    let mut connection = writer.lend().await?;
    let done = insert(&mut connection, key).await;
    connection.end(done).map(drop)
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    key: &NewApiKey,
) -> sqlx::Result<u64> {
    let unwritable = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    let done = sqlx::query(INSERT)
        .bind(text(&key.id))
        .bind(key.hash.as_slice())
        .bind(text(&key.username))
        .bind(serde_json::to_string(&key.groups).map_err(unwritable)?)
        .bind(text(&key.label))
        .bind(text(&key.project))
        .bind(serde_json::to_string(&key.rights).map_err(unwritable)?)
        .bind(key.created_at)
        .bind(key.expires_at)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Never to a later time: a rotation must not prolong a key that was about to end.
pub(super) async fn end(connection: &mut SqliteConnection, id: &str, at: i64) -> sqlx::Result<u64> {
    let sql = "UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?1), ?1) WHERE id = ?2 AND revoked_at IS NULL";
    change(connection, sql, id, at).await
}

pub(super) async fn revoke(
    connection: &mut SqliteConnection,
    id: &str,
    at: i64,
) -> sqlx::Result<u64> {
    let sql = "UPDATE api_keys SET revoked_at = ?1 WHERE id = ?2 AND revoked_at IS NULL";
    change(connection, sql, id, at).await
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

async fn change(
    connection: &mut SqliteConnection,
    sql: &'static str,
    id: &str,
    at: i64,
) -> sqlx::Result<u64> {
    let done = sqlx::query(sql)
        .bind(at)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
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
    let rights: String = row.try_get("rights").map_err(failed)?;
    let rights: KeyRights = serde_json::from_str(&rights)
        .map_err(|error| broken(format!("api_keys.rights of key {id}: {error}")))?;
    Ok(ApiKey {
        id: id.into(),
        username: shared(row, "username")?,
        groups: groups.into(),
        label: shared(row, "label")?,
        project: shared(row, "project")?,
        rights: rights.into(),
        created_at: row.try_get("created_at").map_err(failed)?,
        confirmed_at: row.try_get("confirmed_at").map_err(failed)?,
        expires_at: row.try_get("expires_at").map_err(failed)?,
        revoked_at: row.try_get("revoked_at").map_err(failed)?,
        last_used_at: row.try_get("last_used_at").map_err(failed)?,
        noted_days: row.try_get("noted_days").map_err(failed)?,
    })
}

fn shared(row: &SqliteRow, column: &str) -> Result<Arc<str>, StoreError> {
    let value: String = row.try_get(column).map_err(failed)?;
    Ok(value.into())
}
