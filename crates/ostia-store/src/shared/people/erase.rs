//! Replaces one person by a pseudonym in the ledger and its sums.

use ostia_core::{LedgerRow, RequestId, StoreError};
use sqlx::Row as _;

use super::super::blocks;
use super::super::engine::Id;
use super::super::rows::ledger_row;
use super::super::work::Work;
use super::apply::{END_SESSIONS, run};

const ROWS: &str =
    "SELECT * FROM ledger WHERE user_id = $1 AND request_id > $2 ORDER BY request_id LIMIT $3";

/// See [`ostia_core::People::rows_of`].
pub(in super::super) async fn rows_of(
    mut work: Work,
    user_id: &str,
    after: Option<RequestId>,
    limit: u32,
    take: &mut (dyn FnMut(&LedgerRow<'_>) + Send),
) -> Result<Option<RequestId>, StoreError> {
    let before_all = RequestId::from_bytes([0; 16]);
    let select = sqlx::query(ROWS)
        .bind(user_id.to_owned())
        .bind(Id(after.unwrap_or(before_all)))
        .bind(i64::from(limit));
    let done = async {
        let mut last = None;
        let found = work.all(select).await?;
        for row in &found {
            let row = ledger_row(row)?;
            take(&row);
            last = Some(row.request_id);
        }
        Ok(last.filter(|_| found.len() == limit as usize))
    };
    let done = done.await;
    work.end(done).await
}

/// The names under which sums count the person. A username that they chose may be another's.
const NAMES: &str = "
    SELECT COALESCE(NULLIF(reported_user, ''), NULLIF(username, ''), user_id) FROM ledger
        WHERE user_id = $1 OR user_id IN (SELECT id FROM identities WHERE person = $1)
    UNION SELECT CASE proven WHEN 1 THEN username WHEN 2 THEN email ELSE '' END FROM identities WHERE person = $1
    UNION SELECT id FROM identities WHERE person = $1
    UNION SELECT CAST($1 AS TEXT)";

const REVOKE: &str = "
    UPDATE api_keys SET revoked_at = $2
    WHERE revoked_at IS NULL AND (username = $1 OR username IN (SELECT id FROM identities WHERE person = $1))";

/// Every place that names the person, in the order of their references. Rows keep their figures.
const ERASE: [&str; 4] = [
    "UPDATE ledger SET user_id = $2, username = $2, reported_user = '', origin_ip = '', client_request_id = ''
     WHERE user_id = $1 OR user_id IN (SELECT id FROM identities WHERE person = $1)",
    "UPDATE api_keys SET username = $2, label = '', groups = '[]'
     WHERE username = $1 OR username IN (SELECT id FROM identities WHERE person = $1)",
    "DELETE FROM users WHERE id = $2 OR (id <> $1 AND id IN (SELECT id FROM identities WHERE person = $1))",
    "UPDATE users SET id = $2, username = $2, name = '', idp = '', email = '', state = 'erased' WHERE id = $1",
];

pub(super) async fn erase(
    work: &mut Work,
    person: &str,
    pseudonym: &str,
    at: i64,
) -> sqlx::Result<u64> {
    run(work, REVOKE, &[&person, &at]).await?;
    run(work, END_SESSIONS, &[&person]).await?;
    run(work, "DELETE FROM terms WHERE person = $1", &[&person]).await?;
    rename_in_sums(work, person, pseudonym).await?;
    let mut touched = 0;
    for sql in ERASE {
        touched += run(work, sql, &[&person, &pseudonym]).await?;
    }
    let identities = "DELETE FROM identities WHERE person = $1 OR id = $1";
    Ok(touched + run(work, identities, &[&person]).await?)
}

/// Moves what was counted under one of the names to the pseudonym.
async fn rename_in_sums(work: &mut Work, person: &str, pseudonym: &str) -> sqlx::Result<()> {
    let found = work.all(sqlx::query(NAMES).bind(person.to_owned())).await?;
    let names = found.iter().map(|row| row.try_get::<String, _>(0));
    let mut names = names.collect::<sqlx::Result<Vec<_>>>()?;
    names.retain(|name| !name.is_empty());
    blocks::rename_everywhere(work, &names, pseudonym).await?;
    for name in names {
        // What the release before this one reads.
        let former = sqlx::query("DELETE FROM usage_sums WHERE person = $1");
        work.run(former.bind(name)).await?;
    }
    Ok(())
}
