//! Searches for rows of the ledger.

use ostia_core::{RequestId, RowFilter, RowPlace, StoreError};
use sqlx::AssertSqlSafe;

use super::engine::{Id, Query, Stamp};
use super::rows::page;
use super::work::Work;
use crate::columns::stamp;

/// See [`ostia_core::Store::find_rows`].
pub(super) async fn rows(
    mut work: Work,
    filter: &RowFilter,
    take: &mut (dyn FnMut(&ostia_core::LedgerRow<'_>) + Send),
) -> Result<Option<RowPlace>, StoreError> {
    let sql = statement(filter);
    let done = page(&mut work, bound(filter, &sql), filter.limit, take).await;
    work.end(done).await
}

/// Contains only the conditions that are asked for, so that the index by time is used. Values are bound.
fn statement(filter: &RowFilter) -> String {
    let mut sql = "SELECT * FROM ledger WHERE started_at >= $1 AND started_at < $2 AND (started_at, request_id) < ($3, $4)"
        .to_owned();
    let mut number = 4;
    let mut next = || {
        number += 1;
        number
    };
    if filter.request_id.is_some() {
        sql += &format!(" AND request_id = ${}", next());
    }
    if !filter.users.is_empty() {
        let names: Vec<String> = filter
            .users
            .iter()
            .map(|_| format!("${}", next()))
            .collect();
        let names = names.join(", ");
        sql += &format!(
            " AND (username IN ({names}) OR user_id IN ({names}) OR reported_user IN ({names}))"
        );
    }
    for (column, is_asked) in [
        ("model", filter.model.is_some()),
        ("outcome", filter.outcome.is_some()),
        ("error_code", filter.error_code.is_some()),
    ] {
        if is_asked {
            sql += &format!(" AND {column} = ${}", next());
        }
    }
    if filter.failed {
        sql += " AND error_code <> ''";
    }
    sql += &format!(
        " ORDER BY started_at DESC, request_id DESC LIMIT ${}",
        next()
    );
    sql
}

/// Binds the values in the order in which the statement numbers them.
fn bound<'q>(filter: &RowFilter, sql: &str) -> Query<'q> {
    let behind_all = RowPlace {
        started_at: stamp(i64::MAX),
        request_id: RequestId::from_bytes([0xff; 16]),
    };
    let before = filter.before.unwrap_or(behind_all);
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(Stamp(stamp(filter.since)))
        .bind(Stamp(filter.until.map_or(i64::MAX, stamp)))
        .bind(Stamp(before.started_at))
        .bind(Id(before.request_id));
    if let Some(id) = filter.request_id {
        query = query.bind(Id(id));
    }
    let outcome = filter.outcome.map(|outcome| outcome.as_str().to_owned());
    let texts = [filter.model.clone(), outcome, filter.error_code.clone()];
    let texts = filter
        .users
        .iter()
        .cloned()
        .chain(texts.into_iter().flatten());
    texts
        .fold(query, |query, text| query.bind(text))
        .bind(i64::from(filter.limit))
}
