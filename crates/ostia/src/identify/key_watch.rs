use std::sync::Arc;

use ostia_core::{Clock, KeyChange, Store, StoreError};
use parking_lot::Mutex;

use crate::telemetry::Pace;

/// What can happen to a key, by name. A rotation makes one key and changes the expiry of another.
const KINDS: [&str; 3] = ["key_created", "key_revoked", "key_expiry_changed"];

/// Notices that keys were made, revoked or given an expiry, whoever did it: the CLI here or on another machine, or
/// somebody in the database itself. Each change is counted and becomes an event of target `ostia::audit`.
pub struct KeyWatch {
    store: Arc<dyn Store>,
    /// The last change that was reported. `None` before the first poll, which only finds where to begin.
    last: Mutex<Option<i64>>,
    paces: [Pace; KINDS.len()],
    clock: Arc<dyn Clock>,
}

impl KeyWatch {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            last: Mutex::default(),
            paces: Default::default(),
            clock,
        }
    }

    /// Queries for changes since the last poll. Called now and then from a background task. `true`: a key lost a right.
    pub async fn look(&self) -> Result<bool, StoreError> {
        let mut lost = false;
        loop {
            let after = *self.last.lock();
            let found = self.store.key_changes(after).await?;
            *self.last.lock() = Some(found.last);
            if found.changes.is_empty() {
                return Ok(lost);
            }
            for change in &found.changes {
                lost |= change.kind != KINDS[0];
                self.tell(change);
            }
        }
    }

    /// Waits until the store says that keys changed, or forever.
    pub async fn changed(&self) {
        self.store.keys_changed().await;
    }

    /// Changes since the start, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        KINDS.into_iter().zip(self.paces.iter().map(Pace::total))
    }

    fn tell(&self, change: &KeyChange) {
        let kinds = KINDS.iter().zip(&self.paces);
        for (kind, pace) in kinds.filter(|(kind, _)| **kind == change.kind) {
            let Some(untold) = pace.count(&*self.clock) else {
                continue;
            };
            tracing::info!(
                target: "ostia::audit",
                kind,
                key_id = &*change.id,
                username = &*change.username,
                admin = change.admin,
                untold,
                "a key was changed"
            );
        }
    }
}
