//! API keys. Only their hashes are stored.

use std::sync::Arc;

use ostia_core::{
    ApiKey, Identity, KeyChange, KeyChanges, KeyFilter, KeyRights, NewApiKey, StoreError,
};
use sqlx::{AssertSqlSafe, Row as _};

use super::engine::{Query, Row, USERNAME};
use super::failure::failed;
use super::work::Work;
use crate::columns::text;

const SELECT_BY_HASH: &str = "
    SELECT id, username, groups, label, project, rights, created_at, confirmed_at, expires_at, revoked_at, last_used_at,
        noted_days
    FROM api_keys WHERE hash = $1";

const SELECT_ALL: &str = "
    SELECT id, username, groups, label, project, rights, created_at, confirmed_at, expires_at, revoked_at, last_used_at,
        noted_days
    FROM api_keys ORDER BY created_at, id";

/// The end of [`SELECT_ALL`].
const ORDER: &str = "ORDER BY created_at, id";

/// A key that was deleted has no name any more.
const SELECT_CHANGES: &str = "
    SELECT c.change, c.kind, c.key_id, coalesce(k.username, '') AS username, coalesce(k.rights, '{}') AS rights
    FROM key_changes AS c LEFT JOIN api_keys AS k ON k.id = c.key_id WHERE c.change > $1 ORDER BY c.change LIMIT 1000";

const SELECT_LAST_CHANGE: &str = "SELECT coalesce(max(change), 0) FROM key_changes";

const INSERT: &str = "
    INSERT INTO api_keys (id, hash, username, groups, label, project, rights, created_at, confirmed_at, expires_at, admin)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10)";

/// Never sets a later time: a rotation must not prolong a key that was about to expire.
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

/// See [`ostia_core::Store::find_keys`].
pub(super) async fn find(mut work: Work, filter: KeyFilter<'_>) -> Result<Vec<ApiKey>, StoreError> {
    if matches!(filter, KeyFilter::Owners([])) {
        return Ok(Vec::new());
    }
    let only = match filter {
        KeyFilter::Id(_) => "id = $1".to_owned(),
        KeyFilter::Owners(names) => {
            let marks: Vec<_> = (1..=names.len()).map(|at| format!("${at}")).collect();
            format!("{USERNAME} IN ({})", marks.join(", "))
        }
        KeyFilter::Project(_) => "project = $1".to_owned(),
        KeyFilter::Ending(..) => {
            "revoked_at IS NULL AND expires_at >= $1 AND expires_at < $2".to_owned()
        }
    };
    let sql = SELECT_ALL.replace(ORDER, &format!("WHERE {only} {ORDER}"));
    let query: Query<'_> = sqlx::query(AssertSqlSafe(sql));
    let query = match filter {
        KeyFilter::Id(value) | KeyFilter::Project(value) => query.bind(value.to_owned()),
        KeyFilter::Owners(names) => {
            let names = names.iter().map(|name| text(name).to_ascii_lowercase());
            names.fold(query, |query, name| query.bind(name))
        }
        KeyFilter::Ending(from, to) => query.bind(from).bind(to),
    };
    let found = work.all(query).await;
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
        let select = sqlx::query(SELECT_CHANGES).bind(after);
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
                admin: rights(&row.try_get::<String, _>(4)?)?.is_admin(),
            });
        }
        Ok(found)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn create(mut work: Work, key: &NewApiKey) -> Result<(), StoreError> {
    let done = insert(&mut work, key).await;
    work.end(done).await.map(drop)
}

pub(super) async fn insert(work: &mut Work, key: &NewApiKey) -> sqlx::Result<u64> {
    let unwritable = |error: serde_json::Error| sqlx::Error::Encode(error.into());
    let insert = sqlx::query(INSERT)
        .bind(text(&key.id).into_owned())
        .bind(key.hash.to_vec())
        .bind(text(&key.username).into_owned())
        .bind(serde_json::to_string(&key.groups).map_err(unwritable)?)
        .bind(text(&key.label).into_owned())
        .bind(text(&key.project).into_owned())
        .bind(serde_json::to_string(&key.rights).map_err(unwritable)?)
        .bind(key.created_at)
        .bind(key.expires_at)
        // Read by the previous release.
        .bind(key.rights.is_admin());
    work.run(insert).await
}

pub(super) async fn end(work: &mut Work, id: &str, at: i64) -> sqlx::Result<u64> {
    let end = sqlx::query(EXPIRE).bind(at).bind(id.to_owned());
    work.run(end).await
}

pub(super) async fn revoke(work: &mut Work, id: &str, at: i64) -> sqlx::Result<u64> {
    let revoke = sqlx::query(REVOKE).bind(at).bind(id.to_owned());
    work.run(revoke).await
}

pub(super) async fn touch(mut work: Work, used: &[(Arc<str>, i64)]) -> Result<(), StoreError> {
    // Sorted, so that two processes that touch the same keys cannot deadlock.
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

/// Rights that cannot be read are an error, not an absence: they may be restrictions.
fn rights(text: &str) -> sqlx::Result<KeyRights> {
    let unreadable = |error| sqlx::Error::Decode(format!("api_keys.rights: {error}").into());
    serde_json::from_str(text).map_err(unreadable)
}

fn api_key(row: &Row) -> Result<ApiKey, StoreError> {
    let id: String = row.try_get("id").map_err(failed)?;
    let groups: String = row.try_get("groups").map_err(failed)?;
    // Likewise, groups that cannot be read are not the same as no groups.
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
        rights: rights(&shared(row, "rights")?).map_err(failed)?.into(),
        created_at: row.try_get("created_at").map_err(failed)?,
        confirmed_at: row.try_get("confirmed_at").map_err(failed)?,
        expires_at: row.try_get("expires_at").map_err(failed)?,
        revoked_at: row.try_get("revoked_at").map_err(failed)?,
        last_used_at: row.try_get("last_used_at").map_err(failed)?,
        noted_days: row.try_get("noted_days").map_err(failed)?,
    })
}

fn shared(row: &Row, column: &str) -> Result<Arc<str>, StoreError> {
    let value: String = row.try_get(column).map_err(failed)?;
    Ok(value.into())
}
