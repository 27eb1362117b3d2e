//! People, projects and the audit: SQL that every database understands. Each database takes this folder in as a module
//! beside its `db`, which names its types.

mod apply;
mod audit;
mod read;

use ostia_core::{AuditEvent, Change, StoreError};
use sqlx::Connection as _;

use super::db::{self, Connection};

/// All changes and events, in one transaction.
pub(super) async fn change(
    connection: &mut Connection,
    changes: &[Change],
    events: &[AuditEvent],
) -> sqlx::Result<Vec<u64>> {
    let mut transaction = connection.begin_with(db::BEGIN).await?;
    db::lock(&mut transaction).await?;
    let mut touched = Vec::with_capacity(changes.len());
    let mut is_seen = false;
    for change in changes {
        touched.push(apply::apply(&mut transaction, change).await?);
        is_seen |= apply::is_of_roster(change);
    }
    if is_seen {
        sqlx::query("UPDATE people_version SET version = version + 1")
            .execute(&mut *transaction)
            .await?;
    }
    audit::append(&mut transaction, events).await?;
    transaction.commit().await?;
    Ok(touched)
}

pub(super) use audit::select as audit;
pub(super) use read::{all, owner, roster, version};

/// A JSON list of texts; one that cannot be read must not pass as an empty one.
fn list(text: &str, column: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Broken(format!("{column}: {error}")))
}

fn written(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}
