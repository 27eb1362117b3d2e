//! Recovers the journal of a process that will not come back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Clock, Store};

use super::folder::Lock;
use super::options::{LedgerError, Options};
use super::{Ledger, Stats};

/// The suffix of a folder that is being recovered.
const TAKEN: &str = "taken";

/// Carries everything in a journal's folder to the store, and removes the folder, except for what cannot be read.
///
/// First it takes the folder's lock and renames the folder. The lock may not reach the owner, as on some network file
/// systems; an owner that is still alive sees the new name, and stops. A recovery that was interrupted can be repeated.
///
/// # Errors
///
/// Somebody holds the folder, or it cannot be read. `Unfinished`: the store did not take everything; the rest is kept.
pub async fn recover(
    folder: &Path,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    patience: Duration,
) -> Result<Stats, LedgerError> {
    let taken = take(folder)?;
    let options = Options {
        // It writes no records of its own.
        segment_bytes: 0,
        ..Options::default()
    };
    let ledger = Ledger::open(&taken, options, store, clock)?;
    let is_done = ledger.flush(patience).await;
    let stats = ledger.stats();
    drop(ledger);
    let failed = |source| LedgerError::Folder {
        path: taken.clone(),
        source,
    };
    if !is_done {
        return Err(LedgerError::Unfinished { path: taken });
    }
    if stats.unreadable_segments == 0 {
        std::fs::remove_dir_all(&taken).map_err(failed)?;
    }
    Ok(stats)
}

fn take(folder: &Path) -> Result<PathBuf, LedgerError> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    if folder.extension().is_some_and(|end| end == TAKEN) {
        return Ok(folder.to_owned());
    }
    name.push(".");
    name.push(TAKEN);
    let taken = folder.with_file_name(name);
    let failed = |source| LedgerError::Folder {
        path: folder.to_owned(),
        source,
    };
    let lock = Lock::of_existing(folder)?;
    if taken.exists() {
        return Err(failed(std::io::Error::other(format!(
            "{} is there already: bring that in first",
            taken.display()
        ))));
    }
    std::fs::rename(folder, &taken).map_err(failed)?;
    drop(lock);
    Ok(taken)
}
