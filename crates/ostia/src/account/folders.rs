//! The journal folders of one state folder: one per running process, and those that dead processes left.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Clock, Store};
use rustix::fs::{FlockOperation, flock};

use super::Ledger;
use super::folder::SEGMENT;
use super::options::{LedgerError, Options};
use super::segment::HEADER;

/// A process takes the first free one. During a handover two are in use, and more if long streams keep several old
/// processes alive.
const MOST: usize = 32;

/// Small, because nothing new is written to a folder that is only being emptied.
const SPARE_BYTES: u64 = 64 << 10;

/// The folder for a process of this state folder. `beside`: there may be another process, which this one takes over from.
///
/// # Errors
///
/// Another process runs on the state folder, and this one does not take over from it.
pub fn journal_folder(state_dir: &Path, beside: bool) -> Result<PathBuf, LedgerError> {
    let mut free = None;
    for path in all(state_dir) {
        if is_in_use(&path) {
            if !beside {
                return Err(LedgerError::InUse { path });
            }
        } else if free.is_none() {
            free = Some(path);
        }
    }
    free.ok_or_else(|| LedgerError::InUse {
        path: state_dir.join("journal"),
    })
}

/// Carries to the store what ended processes left in their folders. Leaves the folders of running processes, and `own`,
/// alone. `false`: the store did not take everything within `limit`.
pub async fn adopt_journals(
    state_dir: &Path,
    own: &Path,
    options: &Options,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    limit: Duration,
) -> bool {
    let mut is_done = true;
    for path in all(state_dir) {
        if path == own || !holds_records(&path) {
            continue;
        }
        let options = Options {
            segment_bytes: SPARE_BYTES,
            ..options.clone()
        };
        let opened = Ledger::open(&path, options, Arc::clone(store), Arc::clone(clock));
        match opened {
            Ok(ledger) => is_done &= ledger.flush(limit).await,
            // Its process is running.
            Err(LedgerError::InUse { .. }) => {}
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a journal that was left cannot be read");
                is_done = false;
            }
        }
    }
    is_done
}

fn all(state_dir: &Path) -> impl Iterator<Item = PathBuf> {
    let name = |number| match number {
        0 => "journal".to_owned(),
        number => format!("journal.{number}"),
    };
    (0..MOST).map(move |number| state_dir.join(name(number)))
}

/// Whether there is a segment with a record. Reserved but unused room does not count.
fn holds_records(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let segments =
        entries.filter(|entry| entry.path().extension().is_some_and(|end| end == SEGMENT));
    let mut lengths = segments.filter_map(|entry| entry.metadata().ok());
    lengths.any(|meta| meta.len() > HEADER as u64)
}

fn is_in_use(path: &Path) -> bool {
    let Ok(folder) = File::open(path) else {
        return false;
    };
    let taken = flock(&folder, FlockOperation::NonBlockingLockExclusive);
    taken.is_err_and(|error| io::Error::from(error).kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_alone_or_two_while_one_hands_over() {
        let state = tempfile::tempdir().unwrap();
        let first = journal_folder(state.path(), false).unwrap();
        assert_eq!(first, state.path().join("journal"));
        fs::create_dir(&first).unwrap();
        let lock = |path: &Path| {
            let file = File::open(path).unwrap();
            flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
            file
        };
        let held = lock(&first);
        assert!(matches!(
            journal_folder(state.path(), false),
            Err(LedgerError::InUse { path }) if path == first
        ));
        let second = journal_folder(state.path(), true).unwrap();
        assert_eq!(second, state.path().join("journal.1"));
        fs::create_dir(&second).unwrap();
        let held_too = lock(&second);
        drop(held);
        // The second process is still running.
        assert!(journal_folder(state.path(), false).is_err());
        assert_eq!(journal_folder(state.path(), true).unwrap(), first);
        drop(held_too);
        assert_eq!(journal_folder(state.path(), false).unwrap(), first);
    }
}
