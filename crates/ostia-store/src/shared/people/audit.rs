use ostia_core::{AuditEvent, AuditQuery, AuditRow, StoreError};
use sqlx::Row as _;

use super::super::engine::Row;
use super::super::work::Work;
use crate::columns::text;

const INSERT: &str = "
    INSERT INTO audit (number, at, actor, role, address, action, object, before, after, reason, request_id, previous, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

const SELECT: &str = "
    SELECT number, at, actor, role, address, action, object, before, after, reason, request_id, previous, hash FROM audit
    WHERE at >= $1 AND ($2 IS NULL OR at < $2) AND ($3 IS NULL OR actor = $3) AND ($4 IS NULL OR action = $4)
        AND ($5 IS NULL OR object = $5) AND ($6 IS NULL OR number < $6)
    ORDER BY number DESC LIMIT $7";

/// Appends events to the chain. The caller's transaction must hold the lock that allows only one to append at a time.
pub(super) async fn append(work: &mut Work, events: &[AuditEvent]) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let last = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
    let last = work.one(sqlx::query(last)).await?;
    let mut last: Option<(i64, String)> = match last {
        Some(row) => Some((row.try_get("number")?, row.try_get("hash")?)),
        None => None,
    };
    for event in events {
        let event = storable(event);
        let row = event.after(last.as_ref().map(|(number, hash)| (*number, &**hash)));
        insert(work, &row).await?;
        last = Some((row.number, row.hash));
    }
    Ok(())
}

/// Adapts the event to the database first, so that its hash covers what is stored.
fn storable(event: &AuditEvent) -> AuditEvent {
    let clean = |value: &str| text(value).into_owned();
    AuditEvent {
        at: event.at,
        actor: clean(&event.actor),
        role: clean(&event.role),
        address: clean(&event.address),
        action: clean(&event.action),
        object: clean(&event.object),
        before: clean(&event.before),
        after: clean(&event.after),
        reason: clean(&event.reason),
        request_id: clean(&event.request_id),
    }
}

async fn insert(work: &mut Work, row: &AuditRow) -> sqlx::Result<()> {
    let AuditRow { event, .. } = row;
    let insert = sqlx::query(INSERT)
        .bind(row.number)
        .bind(event.at)
        .bind(event.actor.clone())
        .bind(event.role.clone())
        .bind(event.address.clone())
        .bind(event.action.clone())
        .bind(event.object.clone())
        .bind(event.before.clone())
        .bind(event.after.clone())
        .bind(event.reason.clone())
        .bind(event.request_id.clone())
        .bind(row.previous.clone())
        .bind(row.hash.clone());
    work.run(insert).await.map(drop)
}

pub(in super::super) async fn select(
    mut work: Work,
    query: &AuditQuery,
) -> Result<Vec<AuditRow>, StoreError> {
    let select = sqlx::query(SELECT)
        .bind(query.since)
        .bind(query.until)
        .bind(query.actor.clone())
        .bind(query.action.clone())
        .bind(query.object.clone())
        .bind(query.before)
        .bind(query.limit);
    let found = work.all(select).await;
    let rows = found.and_then(|rows| rows.iter().map(read).collect());
    work.end(rows).await
}

fn read(row: &Row) -> sqlx::Result<AuditRow> {
    Ok(AuditRow {
        number: row.try_get("number")?,
        event: AuditEvent {
            at: row.try_get("at")?,
            actor: row.try_get("actor")?,
            role: row.try_get("role")?,
            address: row.try_get("address")?,
            action: row.try_get("action")?,
            object: row.try_get("object")?,
            before: row.try_get("before")?,
            after: row.try_get("after")?,
            reason: row.try_get("reason")?,
            request_id: row.try_get("request_id")?,
        },
        previous: row.try_get("previous")?,
        hash: row.try_get("hash")?,
    })
}
