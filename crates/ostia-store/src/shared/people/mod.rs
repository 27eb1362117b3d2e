//! People, projects and the audit log.

mod apply;
mod audit;
mod erase;
mod read;

use ostia_core::{AuditEvent, Change, StoreError};

use super::work::Work;

pub(super) use audit::select as audit;
pub(super) use erase::rows_of;
pub(super) use read::{accepted_terms, all, owner, roster, version};

/// A counter in `meta`, incremented by changes that replicas have to learn of.
const VERSION: &str = "people.version";

/// All changes and events, in one transaction.
pub(super) async fn change(
    mut work: Work,
    changes: &[Change],
    events: &[AuditEvent],
) -> Result<Vec<u64>, StoreError> {
    let done = write(&mut work, changes, events).await;
    work.end(done).await
}

async fn write(
    work: &mut Work,
    changes: &[Change],
    events: &[AuditEvent],
) -> sqlx::Result<Vec<u64>> {
    let counts_up = changes.iter().any(apply::is_of_roster);
    // This must come first: whoever locks this row is the only one who appends to the audit log.
    let lock = "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + $1 AS TEXT) WHERE name = $2";
    let lock = sqlx::query(lock).bind(i64::from(counts_up)).bind(VERSION);
    work.run(lock).await?;
    let mut touched = Vec::with_capacity(changes.len());
    for change in changes {
        touched.push(apply::apply(work, change).await?);
    }
    audit::append(work, events).await?;
    Ok(touched)
}

/// Reads a JSON list of texts. One that cannot be read is an error, not an empty list.
fn list(text: &str, column: &str) -> sqlx::Result<Vec<String>> {
    let unreadable = |error| sqlx::Error::Decode(format!("{column}: {error}").into());
    serde_json::from_str(text).map_err(unreadable)
}

fn written(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}
