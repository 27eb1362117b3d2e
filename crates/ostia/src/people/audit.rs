use ostia_core::{AuditQuery, AuditRow, broken_link};
use serde_json::{Value, json};

use super::{Desk, DeskError, rfc3339};

/// Rows that are read at a time.
const PAGE: i64 = 1_000;

/// Whether the record of events is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// This many events, each linked to the one before.
    Whole(u64),
    /// The first event that was changed, or whose predecessor is missing.
    Broken(i64),
}

impl Desk {
    /// Events, the newest first.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRow>, DeskError> {
        Ok(self.store.people().audit(query).await?)
    }

    /// Checks every event from the newest to the oldest.
    pub async fn verify_audit(&self) -> Result<Chain, DeskError> {
        let mut query = AuditQuery {
            limit: PAGE,
            ..AuditQuery::default()
        };
        let mut behind: Option<AuditRow> = None;
        let mut count = 0;
        loop {
            let mut rows = self.store.people().audit(&query).await?;
            let is_last = (rows.len() as i64) < PAGE;
            count += rows.len() as u64;
            rows.reverse();
            let next = rows.first().cloned();
            rows.extend(behind);
            if let Some(number) = broken_link(&rows) {
                return Ok(Chain::Broken(number));
            }
            behind = next;
            query.before = behind.as_ref().map(|row| row.number);
            if is_last {
                return Ok(Chain::Whole(count));
            }
        }
    }
}

pub fn audit_json(row: &AuditRow) -> Value {
    let event = &row.event;
    let parsed = |text: &str| match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    json!({
        "number": row.number,
        "at": rfc3339(event.at),
        "actor": event.actor,
        "role": event.role,
        "address": event.address,
        "action": event.action,
        "object": event.object,
        "before": parsed(&event.before),
        "after": parsed(&event.after),
        "reason": event.reason,
        "request_id": event.request_id,
        "hash": row.hash,
    })
}
