use std::collections::HashMap;
use std::sync::Arc;

use ostia_core::{ApiKey, Clock, Store, StoreError};
use parking_lot::Mutex;

use crate::telemetry::Pace;

/// What can happen to a key, by name. A rotation is a key made and another's end changed.
const KINDS: [&str; 3] = ["key_created", "key_revoked", "key_expiry_changed"];

/// Sees that keys were made, revoked or given an end, whoever did it: the CLI here or on another machine, or somebody in
/// the database itself. Each change is counted and becomes an event of target `ostia::audit`.
pub struct KeyWatch {
    store: Arc<dyn Store>,
    /// `None` before the first look, which only learns what there is.
    known: Mutex<Option<HashMap<Arc<str>, Seen>>>,
    paces: [Pace; KINDS.len()],
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    revoked: bool,
    expires_at: Option<i64>,
}

impl KeyWatch {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            known: Mutex::default(),
            paces: Default::default(),
            clock,
        }
    }

    /// Looks at all keys. Called now and then from beside the path.
    pub async fn look(&self) -> Result<(), StoreError> {
        let keys = self.store.list_keys().await?;
        self.compare(&keys);
        Ok(())
    }

    /// Changes since the start, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        KINDS.into_iter().zip(self.paces.iter().map(Pace::total))
    }

    fn compare(&self, keys: &[ApiKey]) {
        let seen = keys.iter().map(|key| (Arc::clone(&key.id), Seen::of(key)));
        let before = self.known.lock().replace(seen.collect());
        let Some(before) = before else { return };
        for key in keys {
            for kind in changes(before.get(&key.id), Seen::of(key)) {
                self.tell(kind, key);
            }
        }
    }

    fn tell(&self, kind: usize, key: &ApiKey) {
        let Some(untold) = self.paces[kind].count(&*self.clock) else {
            return;
        };
        tracing::info!(
            target: "ostia::audit",
            kind = KINDS[kind],
            key_id = &*key.id,
            username = &*key.username,
            admin = key.rights.is_admin(),
            untold,
            "a key was changed"
        );
    }
}

impl Seen {
    const fn of(key: &ApiKey) -> Self {
        Self {
            revoked: key.revoked_at.is_some(),
            expires_at: key.expires_at,
        }
    }
}

/// Indices of `KINDS`. A key may have been made and revoked between two looks.
fn changes(before: Option<&Seen>, now: Seen) -> impl Iterator<Item = usize> {
    let revoked = now.revoked && before.is_none_or(|before| !before.revoked);
    let moved = before.is_some_and(|before| before.expires_at != now.expires_at);
    [before.is_none(), revoked, moved]
        .into_iter()
        .enumerate()
        .filter_map(|(kind, happened)| happened.then_some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_seen_once() {
        let seen = |revoked, expires_at| Seen {
            revoked,
            expires_at,
        };
        let told = |before: Option<Seen>, now| {
            let kinds = changes(before.as_ref(), now);
            kinds.map(|kind| KINDS[kind]).collect::<Vec<_>>()
        };
        let open = seen(false, None);
        assert_eq!(told(None, open), ["key_created"]);
        assert_eq!(told(None, seen(true, None)), ["key_created", "key_revoked"]);
        assert_eq!(told(Some(open), open), [""; 0]);
        assert_eq!(
            told(Some(open), seen(false, Some(7))),
            ["key_expiry_changed"]
        );
        assert_eq!(told(Some(open), seen(true, None)), ["key_revoked"]);
        assert_eq!(told(Some(seen(true, None)), seen(true, None)), [""; 0]);
    }
}
