//! Whether the file is still the one that was opened.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ostia_core::StoreError;
use tokio::time::Instant;

/// A file that was removed or replaced takes rows into nothing, as its connections go on writing to what was there.
pub(super) struct File {
    path: String,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    /// Device and number.
    identity: Option<(u64, u64)>,
    since: Option<Instant>,
}

impl File {
    pub(super) fn new(path: &str) -> Self {
        let identity = std::fs::metadata(path)
            .ok()
            .map(|found| (found.dev(), found.ino()));
        Self {
            path: path.to_owned(),
            seen: Mutex::new(Seen {
                identity,
                since: None,
            }),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// `true`: another file is there since the last look, and connections to the former are of no use.
    pub(super) async fn is_new(&self) -> Result<bool, StoreError> {
        match tokio::fs::metadata(&self.path).await {
            Ok(found) => Ok(self.note(Some((found.dev(), found.ino())))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.note(None);
                let path = &self.path;
                Err(StoreError::Unavailable(format!(
                    "{path} was removed: put it back, or a backup of it; until then rows wait in the journal"
                )))
            }
            Err(error) => {
                let path = &self.path;
                Err(StoreError::Unavailable(format!("{path}: {error}")))
            }
        }
    }

    /// Whether a connection of that age goes to the file that is there now.
    pub(super) fn has(&self, age: Duration) -> bool {
        let since = self.lock().since;
        since.is_none_or(|since| age < since.elapsed())
    }

    fn note(&self, identity: Option<(u64, u64)>) -> bool {
        let mut seen = self.lock();
        if seen.identity == identity {
            return false;
        }
        seen.identity = identity;
        seen.since = Some(Instant::now());
        true
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
