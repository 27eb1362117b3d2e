//! Notices: maintenance and blocks.

use ostia_core::{Notice, NoticeScope, StoreError};
use sqlx::Row as _;

use super::work::Work;

const SET: &str = "
    INSERT INTO notices (scope, text, begins_at, ends_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (scope) DO UPDATE SET text = excluded.text, begins_at = excluded.begins_at, ends_at = excluded.ends_at";

/// Sorted by scope. Leaves out notices of a kind that this version does not know.
pub(super) async fn list(mut work: Work) -> Result<Vec<Notice>, StoreError> {
    let done = async {
        let select = "SELECT scope, text, begins_at, ends_at FROM notices";
        let rows = work.all(sqlx::query(select)).await?;
        let mut notices = Vec::new();
        for row in &rows {
            let Some(scope) = NoticeScope::stored(&row.try_get::<String, _>(0)?) else {
                continue;
            };
            notices.push(Notice {
                scope,
                text: row.try_get(1)?,
                begins_at: row.try_get(2)?,
                ends_at: row.try_get(3)?,
            });
        }
        notices.sort_by(|a, b| a.scope.cmp(&b.scope));
        Ok(notices)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn set(mut work: Work, notice: &Notice) -> Result<(), StoreError> {
    let setting = sqlx::query(SET)
        .bind(notice.scope.to_string())
        .bind(notice.text.clone())
        .bind(notice.begins_at)
        .bind(notice.ends_at);
    let done = work.run(setting).await.map(drop);
    work.end(done).await
}

pub(super) async fn clear(mut work: Work, scope: &NoticeScope) -> Result<bool, StoreError> {
    let clearing = sqlx::query("DELETE FROM notices WHERE scope = $1").bind(scope.to_string());
    let done = work.run(clearing).await.map(|cleared| cleared > 0);
    work.end(done).await
}
