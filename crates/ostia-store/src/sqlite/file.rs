//! Detects that the database file was removed or replaced.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ostia_core::StoreError;
use tokio::time::Instant;

/// The file that connections were opened on. After it is removed or replaced, they would still write to the old file,
/// and their rows would be lost.
pub(super) struct File {
    path: String,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    /// Device and inode number.
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

    /// `true`: there is another file since the last check, so connections to the old one are useless.
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

    /// Whether a connection of that age was opened on the present file.
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
