//! What the ledger and its sums hold of one person.

use std::sync::{Arc, LazyLock};

use ostia_core::{Column, StoreError};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection, SqlitePool};

use super::failure::failed;

static ROWS: LazyLock<String> = LazyLock::new(|| {
    let columns = Column::LEDGER.iter();
    let columns: Vec<_> = columns
        .map(|column| format!("coalesce(CAST({} AS TEXT), '')", column.name))
        .collect();
    format!(
        "SELECT {} FROM ledger WHERE request_id > ?1 AND user_id IN (SELECT value FROM json_each(?2)) \
         ORDER BY request_id LIMIT ?3",
        columns.join(", ")
    )
});

pub(super) async fn rows_of(
    readers: &SqlitePool,
    users: &[Arc<str>],
    after: &str,
    limit: i64,
) -> Result<Vec<Vec<String>>, StoreError> {
    let users: Vec<&str> = users.iter().map(|user| &**user).collect();
    let rows = sqlx::query(AssertSqlSafe(ROWS.as_str()))
        .bind(after)
        .bind(serde_json::Value::from(users).to_string())
        .bind(limit)
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let texts = rows.iter().map(|row| {
        let values = (0..Column::LEDGER.len()).map(|index| row.try_get::<String, _>(index));
        values.collect::<sqlx::Result<Vec<_>>>()
    });
    texts.map(|row| row.map_err(failed)).collect()
}

/// Sums go by username, and by the user's id where there was none.
const NAMES: &str = "
    SELECT username FROM ledger WHERE user_id = ?1 OR user_id IN (SELECT id FROM identities WHERE person = ?1)
    UNION SELECT user_id FROM ledger
        WHERE username = '' AND (user_id = ?1 OR user_id IN (SELECT id FROM identities WHERE person = ?1))
    UNION SELECT username FROM users WHERE id = ?1 UNION SELECT ?1
    UNION SELECT username FROM identities WHERE person = ?1";

/// Whatever was counted under one of the names is counted under the pseudonym.
pub(super) async fn rename_in_sums(
    connection: &mut SqliteConnection,
    person: &str,
    pseudonym: &str,
) -> sqlx::Result<()> {
    let add = format!(
        "INSERT INTO usage_by_day (day, user, model, cluster, requests, ok, errors, refused, prompt_tokens, completion_tokens,
            total_tokens)
         SELECT day, ?2, model, cluster, sum(requests), sum(ok), sum(errors), sum(refused), sum(prompt_tokens),
            sum(completion_tokens), sum(total_tokens)
         FROM usage_by_day WHERE user IN ({NAMES}) AND user <> '' GROUP BY day, model, cluster"
    );
    let remove = format!("DELETE FROM usage_by_day WHERE user IN ({NAMES}) AND user <> ''");
    for sql in [add, remove] {
        sqlx::query(AssertSqlSafe(sql))
            .bind(person)
            .bind(pseudonym)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
