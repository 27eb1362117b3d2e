//! Ledger rows into the ledger, and what they add to users and to the roll-up, in one transaction.

use std::collections::HashSet;
use std::sync::LazyLock;

use ostia_core::LedgerRow;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool};

use crate::columns::{count, stamp, text};
use crate::tally::Tally;

const COLUMNS: &str = "request_id, client_request_id, started_at, finished_at, user_id, username, auth_service, idp, \
     domain, group_id, key_id, project, cluster, framework, model, endpoint_slug, api, stream, http_status, outcome, \
     phase, error_code, prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, usage_source, \
     ttft_ms, duration_ms, queue_ms, request_bytes, response_bytes, upstream_status, attempts, origin_ip, count";

/// Rows of one statement. Two sizes only, so that both stay prepared.
const MANY: usize = 64;
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_sql(MANY));
static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));

const ADD_USAGE: &str = "
    INSERT INTO usage_by_day (day, user, model, cluster, requests, ok, errors, prompt_tokens, completion_tokens, total_tokens)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, user, model, cluster) DO UPDATE SET
        requests = min(requests + excluded.requests, 9223372036854775807),
        ok = min(ok + excluded.ok, 9223372036854775807),
        errors = min(errors + excluded.errors, 9223372036854775807),
        prompt_tokens = min(prompt_tokens + excluded.prompt_tokens, 9223372036854775807),
        completion_tokens = min(completion_tokens + excluded.completion_tokens, 9223372036854775807),
        total_tokens = min(total_tokens + excluded.total_tokens, 9223372036854775807)";

const SEE_USER: &str = "
    INSERT INTO users (id, username, name, idp, last_seen) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        username = excluded.username, name = excluded.name, idp = excluded.idp, last_seen = excluded.last_seen
    WHERE excluded.last_seen >= last_seen";

/// Gives how many rows were new.
pub(super) async fn insert(writer: &SqlitePool, rows: &[LedgerRow<'_>]) -> sqlx::Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    // The write lock first: a transaction that begins by reading may find that it can never write.
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut inserted = HashSet::with_capacity(rows.len());
    for chunk in rows.chunks(MANY) {
        inserted.extend(insert_chunk(&mut transaction, chunk).await?);
    }
    let new = inserted.len();
    let mut tally = Tally::default();
    let mut id = [0; 36];
    for row in rows {
        // An id that stands twice in a batch counts once.
        if inserted.remove(row.request_id.encode(&mut id)) {
            tally.add(row);
        }
    }
    record(&mut transaction, &tally).await?;
    transaction.commit().await?;
    Ok(u64::try_from(new).unwrap_or(u64::MAX))
}

/// The ids of the rows that were not there before.
async fn insert_chunk(
    connection: &mut SqliteConnection,
    rows: &[LedgerRow<'_>],
) -> sqlx::Result<Vec<String>> {
    if rows.len() == MANY {
        let statement = rows
            .iter()
            .fold(sqlx::query(INSERT_MANY.as_str()), bind_row);
        let new = statement.fetch_all(connection).await?;
        return new.iter().map(|row| row.try_get(0)).collect();
    }
    let mut inserted = Vec::new();
    for row in rows {
        let statement = bind_row(sqlx::query(INSERT_ONE.as_str()), row);
        if let Some(new) = statement.fetch_optional(&mut *connection).await? {
            inserted.push(new.try_get(0)?);
        }
    }
    Ok(inserted)
}

async fn record(connection: &mut SqliteConnection, tally: &Tally<'_>) -> sqlx::Result<()> {
    for ((day, user, model, cluster), sums) in &tally.sums {
        let texts = [text(user), text(model), text(cluster)];
        let statement = texts
            .into_iter()
            .fold(sqlx::query(ADD_USAGE).bind(*day), Query::bind);
        statement
            .bind(sums.requests)
            .bind(sums.ok)
            .bind(sums.errors)
            .bind(sums.prompt_tokens)
            .bind(sums.completion_tokens)
            .bind(sums.total_tokens)
            .execute(&mut *connection)
            .await?;
    }
    for (id, row) in &tally.users {
        sqlx::query(SEE_USER)
            .bind(text(id))
            .bind(text(&row.username))
            .bind(text(&row.name))
            .bind(text(&row.idp))
            .bind(stamp(row.started_at))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn insert_sql(rows: usize) -> String {
    let columns = COLUMNS.split(',').count();
    let marks = format!("({})", vec!["?"; columns].join(","));
    let values = vec![marks.as_str(); rows].join(",");
    format!(
        "INSERT INTO ledger ({COLUMNS}) VALUES {values} ON CONFLICT (request_id) DO NOTHING RETURNING request_id"
    )
}

type Insert = Query<'static, Sqlite, SqliteArguments>;

/// Binds in the order of `COLUMNS`.
fn bind_row(statement: Insert, row: &LedgerRow<'_>) -> Insert {
    let mut id = [0; 36];
    statement
        .bind(row.request_id.encode(&mut id))
        .bind(text(&row.client_request_id))
        .bind(stamp(row.started_at))
        .bind(stamp(row.finished_at))
        .bind(text(&row.user_id))
        .bind(text(&row.username))
        .bind(text(&row.auth_service))
        .bind(text(&row.idp))
        .bind(text(&row.domain))
        .bind(text(&row.group_id))
        .bind(text(&row.key_id))
        .bind(text(&row.project))
        .bind(text(&row.cluster))
        .bind(text(&row.framework))
        .bind(text(&row.model))
        .bind(text(&row.endpoint_slug))
        .bind(text(&row.api))
        .bind(row.stream)
        .bind(row.http_status)
        .bind(row.outcome.as_str())
        .bind(row.phase.as_str())
        .bind(text(&row.error_code))
        .bind(count(row.usage.prompt_tokens))
        .bind(count(row.usage.completion_tokens))
        .bind(count(row.usage.total_tokens))
        .bind(count(row.usage.cached_tokens))
        .bind(count(row.usage.reasoning_tokens))
        .bind(row.usage.source.as_str())
        .bind(row.ttft_ms.map(count))
        .bind(count(row.duration_ms))
        .bind(count(row.queue_ms))
        .bind(count(row.request_bytes))
        .bind(count(row.response_bytes))
        .bind(row.upstream_status)
        .bind(row.attempts)
        .bind(text(&row.origin_ip))
        .bind(row.count)
}
