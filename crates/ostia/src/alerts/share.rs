use std::collections::HashSet;
use std::time::Duration;

use ostia_core::{RequestId, Store};

use super::Change;

/// How long nobody else tells of what this process has told of, should it die.
const TURN: i64 = 30_000_000;
const PATIENCE: Duration = Duration::from_secs(2);

/// Of processes on one database that see the same trouble, one tells of it: whoever has the turn there.
#[derive(Default)]
pub(super) struct Share {
    /// This process's name in the database.
    holder: Option<String>,
    /// Fingerprints of what it told of and still holds.
    told: HashSet<String>,
}

/// What this process has to tell.
#[derive(Default)]
pub(super) struct Mine {
    pub(super) news: Vec<Change>,
    pub(super) firing: Vec<Change>,
}

impl Share {
    /// `wall`: Unix microseconds.
    pub(super) async fn take(
        &mut self,
        changes: Vec<Change>,
        firing: Vec<Change>,
        store: &dyn Store,
        wall: i64,
    ) -> Mine {
        let mut mine = Mine::default();
        for change in changes.into_iter().filter(|change| change.ended.is_some()) {
            if self.told.remove(&change.trouble.fingerprint()) {
                mine.news.push(change);
            }
        }
        let over: Vec<String> = mine.news.iter().map(name).collect();
        self.hold(&over, store, (wall, wall)).await;
        let names: Vec<String> = firing.iter().map(name).collect();
        let held = self.hold(&names, store, (wall, wall + TURN)).await;
        for (change, held) in firing.into_iter().zip(held) {
            let fingerprint = change.trouble.fingerprint();
            if !held {
                self.told.remove(&fingerprint);
                continue;
            }
            if self.told.insert(fingerprint) {
                mine.news.push(change.clone());
            }
            mine.firing.push(change);
        }
        mine
    }

    /// Whether this process does something that one of them does, until then.
    pub(super) async fn is_mine(
        &mut self,
        what: &str,
        store: &dyn Store,
        until: (i64, i64),
    ) -> bool {
        let held = self.hold(&[what.to_owned()], store, until).await;
        held.first() == Some(&true)
    }

    /// A database that does not answer keeps nobody from telling: twice is better than not at all.
    async fn hold(
        &mut self,
        names: &[String],
        store: &dyn Store,
        (wall, until): (i64, i64),
    ) -> Vec<bool> {
        if names.is_empty() {
            return Vec::new();
        }
        let new = || RequestId::at(wall).to_string();
        let holder = self.holder.get_or_insert_with(new);
        let asking = store.hold_turns(names, holder, wall, until);
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(held)) => held,
            Ok(Err(_)) | Err(_) => vec![true; names.len()],
        }
    }
}

fn name(change: &Change) -> String {
    format!("alert:{}", change.trouble.fingerprint())
}
