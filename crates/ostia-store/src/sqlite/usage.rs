//! Usage reports: whole days from the roll-up, the part of a day from the ledger, so that both are exact and quick.

use ostia_core::{StoreError, UsageQuery, UsageRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqlitePool};

use super::failure::{broken, failed};
use crate::columns::{date, day, first_micros, stamp};

/// `errors` are all outcomes but `ok` and `client_closed`, as in the roll-up.
const LINES: &str = "
    SELECT day, user, model, cluster, requests, ok, errors, prompt_tokens, completion_tokens, total_tokens
    FROM usage_by_day WHERE day >= ?1
    UNION ALL
    SELECT started_at / 86400000000, iif(username = '', user_id, username), model, cluster, count,
        iif(outcome = 'ok', count, 0), iif(outcome IN ('ok', 'client_closed'), 0, count),
        prompt_tokens, completion_tokens, total_tokens
    FROM ledger WHERE started_at >= ?2 AND started_at < ?3";

/// SQLite's `sum` fails on overflow, and a backend may claim any number of tokens: the halves are summed apart.
const SUMS: &str = "coalesce(sum(requests), 0), coalesce(sum(ok), 0), coalesce(sum(errors), 0), \
    coalesce(sum(prompt_tokens >> 32), 0), coalesce(sum(prompt_tokens & 4294967295), 0), \
    coalesce(sum(completion_tokens >> 32), 0), coalesce(sum(completion_tokens & 4294967295), 0), \
    coalesce(sum(total_tokens >> 32), 0), coalesce(sum(total_tokens & 4294967295), 0)";

pub(super) async fn report(
    readers: &SqlitePool,
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, StoreError> {
    let keys = query
        .by
        .iter()
        .map(|name| key_column(name))
        .collect::<Result<Vec<_>, _>>()?;
    let since = stamp(query.since);
    let first_whole_day = day(since.saturating_add(first_micros(1) - 1));
    let rows = sqlx::query(AssertSqlSafe(sql(&keys)))
        .bind(first_whole_day)
        .bind(since)
        .bind(first_micros(first_whole_day))
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| usage_row(row, &keys).map_err(failed))
        .collect()
}

/// Only these names ever reach the SQL text.
fn key_column(name: &str) -> Result<&'static str, StoreError> {
    ["user", "model", "cluster", "day"]
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| broken(format!("usage cannot be grouped by {name:?}")))
}

fn sql(keys: &[&str]) -> String {
    if keys.is_empty() {
        return format!("SELECT {SUMS} FROM ({LINES})");
    }
    let keys = keys.join(", ");
    format!("SELECT {SUMS}, {keys} FROM ({LINES}) GROUP BY {keys} ORDER BY {keys}")
}

fn usage_row(row: &SqliteRow, keys: &[&str]) -> sqlx::Result<UsageRow> {
    let number = |index: usize| {
        row.try_get::<i64, _>(index)
            .map(|value| u64::try_from(value).unwrap_or(0))
    };
    let whole = |index: usize| Ok::<_, sqlx::Error>(join(number(index)?, number(index + 1)?));
    Ok(UsageRow {
        requests: number(0)?,
        ok: number(1)?,
        errors: number(2)?,
        prompt_tokens: whole(3)?,
        completion_tokens: whole(5)?,
        total_tokens: whole(7)?,
        keys: keys
            .iter()
            .enumerate()
            .map(|(index, name)| key_text(row, 9 + index, name))
            .collect::<sqlx::Result<_>>()?,
    })
}

fn join(high: u64, low: u64) -> u64 {
    let whole = (u128::from(high) << 32) + u128::from(low);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

fn key_text(row: &SqliteRow, index: usize, name: &str) -> sqlx::Result<String> {
    if name == "day" {
        return row.try_get::<i64, _>(index).map(date);
    }
    row.try_get(index)
}
