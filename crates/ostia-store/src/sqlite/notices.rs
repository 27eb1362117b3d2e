//! What is under maintenance.

use ostia_core::{Notice, NoticeScope, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use super::failure::failed;
use super::writer::Writer;
use crate::columns::text;

const SELECT: &str = "SELECT scope, text, begins_at, ends_at FROM notices ORDER BY scope";

const SET: &str = "
    INSERT INTO notices (scope, text, begins_at, ends_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (scope) DO UPDATE SET text = excluded.text, begins_at = excluded.begins_at, ends_at = excluded.ends_at";

const CLEAR: &str = "DELETE FROM notices WHERE scope = ?";

/// One of a kind that this version does not know is left out.
pub(super) async fn list(readers: &SqlitePool) -> Result<Vec<Notice>, StoreError> {
    let rows = sqlx::query(SELECT)
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let notices = rows.iter().map(notice).collect::<Result<Vec<_>, _>>()?;
    Ok(notices.into_iter().flatten().collect())
}

pub(super) async fn set(writer: &Writer, notice: &Notice) -> Result<(), StoreError> {
    let mut connection = writer.lend().await?;
    let done = sqlx::query(SET)
        .bind(text(&notice.scope.to_string()))
        .bind(text(&notice.text))
        .bind(notice.begins_at)
        .bind(notice.ends_at)
        .execute(&mut *connection)
        .await;
    connection.end(done).map(drop)
}

pub(super) async fn clear(writer: &Writer, scope: &NoticeScope) -> Result<bool, StoreError> {
    let mut connection = writer.lend().await?;
    let done = sqlx::query(CLEAR)
        .bind(text(&scope.to_string()))
        .execute(&mut *connection)
        .await;
    connection.end(done).map(|done| done.rows_affected() > 0)
}

fn notice(row: &SqliteRow) -> Result<Option<Notice>, StoreError> {
    let scope: String = row.try_get("scope").map_err(failed)?;
    let Some(scope) = NoticeScope::stored(&scope) else {
        return Ok(None);
    };
    Ok(Some(Notice {
        scope,
        text: row.try_get("text").map_err(failed)?,
        begins_at: row.try_get("begins_at").map_err(failed)?,
        ends_at: row.try_get("ends_at").map_err(failed)?,
    }))
}
