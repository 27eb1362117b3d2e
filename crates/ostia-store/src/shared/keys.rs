//! API keys: only their hashes are here.

use std::sync::Arc;

use ostia_core::{ApiKey, Identity, KeyChange, KeyChanges, NewApiKey, StoreError};
use sqlx::Row as _;

use super::engine::Row;
use super::failure::failed;
use super::work::Work;
use crate::columns::text;

const SELECT_BY_HASH: &str = "
    SELECT id, username, groups, label, project, admin, created_at, expires_at, revoked_at, last_used_at
    FROM api_keys WHERE hash = $1";

const SELECT_ALL: &str = "
    SELECT id, username, groups, label, project, admin, created_at, expires_at, revoked_at, last_used_at
    FROM api_keys ORDER BY created_at, id";

/// A key that was deleted has no name any more.
const SELECT_CHANGES: &str = "
    SELECT c.change, c.kind, c.key_id, coalesce(k.username, '') AS username, coalesce(k.admin, $2) AS admin
    FROM key_changes AS c LEFT JOIN api_keys AS k ON k.id = c.key_id WHERE c.change > $1 ORDER BY c.change LIMIT 1000";

const SELECT_LAST_CHANGE: &str = "SELECT coalesce(max(change), 0) FROM key_changes";

const INSERT: &str = "
    INSERT INTO api_keys (id, hash, username, groups, label, project, admin, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// Never to a later time: a rotation must not prolong a key that was about to end.
const EXPIRE: &str = "
    UPDATE api_keys SET expires_at = CASE WHEN expires_at < $1 THEN expires_at ELSE $1 END
    WHERE id = $2 AND revoked_at IS NULL";

const REVOKE: &str = "UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";

const TOUCH: &str = "
    UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)";

pub(super) async fn by_hash(mut work: Work, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
    let found = work
        .one(sqlx::query(SELECT_BY_HASH).bind(hash.to_vec()))
        .await;
    let row = work.end(found).await?;
    row.as_ref().map(api_key).transpose()
}

pub(super) async fn list(mut work: Work) -> Result<Vec<ApiKey>, StoreError> {
    let found = work.all(sqlx::query(SELECT_ALL)).await;
    let rows = work.end(found).await?;
    rows.iter().map(api_key).collect()
}

pub(super) async fn changes(mut work: Work, after: Option<i64>) -> Result<KeyChanges, StoreError> {
    let done = async {
        let Some(after) = after else {
            let row = work.one(sqlx::query(SELECT_LAST_CHANGE)).await?;
            return Ok(KeyChanges {
                changes: Vec::new(),
                last: row.map_or(Ok(0), |row| row.try_get(0))?,
            });
        };
        let select = sqlx::query(SELECT_CHANGES).bind(after).bind(false);
        let mut found = KeyChanges {
            changes: Vec::new(),
            last: after,
        };
        for row in work.all(select).await? {
            found.last = row.try_get(0)?;
            found.changes.push(KeyChange {
                kind: row.try_get(1)?,
                id: row.try_get::<String, _>(2)?.into(),
                username: row.try_get::<String, _>(3)?.into(),
                admin: row.try_get(4)?,
            });
        }
        Ok(found)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn create(mut work: Work, key: &NewApiKey) -> Result<(), StoreError> {
    let groups = serde_json::to_string(&key.groups)
        .map_err(|error| StoreError::Broken(error.to_string()))?;
    let insert = sqlx::query(INSERT)
        .bind(text(&key.id).into_owned())
        .bind(key.hash.to_vec())
        .bind(text(&key.username).into_owned())
        .bind(groups)
        .bind(text(&key.label).into_owned())
        .bind(text(&key.project).into_owned())
        .bind(key.admin)
        .bind(key.created_at)
        .bind(key.expires_at);
    let done = work.run(insert).await;
    work.end(done).await.map(drop)
}

pub(super) async fn expire(work: Work, id: &str, expires_at: i64) -> Result<bool, StoreError> {
    change(work, EXPIRE, id, expires_at).await
}

pub(super) async fn revoke(work: Work, id: &str, now: i64) -> Result<bool, StoreError> {
    change(work, REVOKE, id, now).await
}

pub(super) async fn touch(mut work: Work, used: &[(Arc<str>, i64)]) -> Result<(), StoreError> {
    // Whoever else touches keys meanwhile does it in the same order, so that neither waits for the other for ever.
    let mut used: Vec<_> = used.iter().collect();
    used.sort_unstable();
    let mut done = Ok(());
    for (id, at) in used {
        let touch = sqlx::query(TOUCH).bind(*at).bind(id.to_string());
        done = work.run(touch).await.map(drop);
        if done.is_err() {
            break;
        }
    }
    work.end(done).await
}

async fn change(mut work: Work, sql: &'static str, id: &str, at: i64) -> Result<bool, StoreError> {
    let changed = work
        .run(sqlx::query(sql).bind(at).bind(id.to_owned()))
        .await;
    Ok(work.end(changed).await? > 0)
}

fn api_key(row: &Row) -> Result<ApiKey, StoreError> {
    let id: String = row.try_get("id").map_err(failed)?;
    let groups: String = row.try_get("groups").map_err(failed)?;
    // A key whose groups cannot be read must not pass as a key without groups.
    let groups: Vec<Arc<str>> = serde_json::from_str::<Vec<String>>(&groups)
        .map_err(|error| StoreError::Broken(format!("api_keys.groups of key {id}: {error}")))?
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

fn shared(row: &Row, column: &str) -> Result<Arc<str>, StoreError> {
    let value: String = row.try_get(column).map_err(failed)?;
    Ok(value.into())
}
