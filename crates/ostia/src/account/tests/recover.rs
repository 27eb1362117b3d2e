//! A dead replica's journal, recovered by another process.

use std::time::Duration;

use ostia_core::{JournalFull, Outcome, Recorder as _};

use super::super::{LedgerError, recover};
use super::{Rig, answered, flushed, row, serve, small, start, written};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_journal_is_brought_in_and_removed() {
    let rig = Rig::new();
    let folder = rig.folder.path().join("journal");
    rig.store.set_down(true);
    let ledger = rig.open_at(&folder, small()).unwrap();
    let (done, begun) = (row("ann", 1), row("bob", 1));
    serve(&ledger, &done, &answered(&done, 4));
    let slot = start(&ledger, &begun);
    let bring = || recover(&folder, rig.store.clone(), rig.clock.clone(), PATIENCE);
    assert!(matches!(bring().await, Err(LedgerError::InUse { .. })));
    assert!(folder.exists());
    drop(ledger);
    drop(slot);
    rig.store.set_down(false);
    bring().await.unwrap();
    let expected = [
        (done.request_id, Outcome::Ok),
        (begun.request_id, Outcome::Interrupted),
    ];
    assert_eq!(rig.store.outcomes(), expected.into());
    assert_eq!(std::fs::read_dir(rig.folder.path()).unwrap().count(), 0);
}

/// An interrupted recovery is repeated with the folder's new name.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recovery_that_did_not_end_is_taken_up_again() {
    let rig = Rig::new();
    let folder = rig.folder.path().join("journal");
    rig.store.set_down(true);
    let ledger = rig.open_at(&folder, small()).unwrap();
    let done = row("ann", 1);
    serve(&ledger, &done, &answered(&done, 4));
    drop(ledger);
    let bring = |folder, patience| recover(folder, rig.store.clone(), rig.clock.clone(), patience);
    let cut_off = bring(&folder, Duration::from_millis(1)).await;
    let Err(LedgerError::Unfinished { path }) = cut_off else {
        panic!("{cut_off:?}")
    };
    assert!(!folder.exists());
    rig.store.set_down(false);
    bring(&path, PATIENCE).await.unwrap();
    assert_eq!(
        rig.store.outcomes(),
        [(done.request_id, Outcome::Ok)].into()
    );
    assert!(!path.exists());
}

/// If the lock does not reach it, an owner sees that its folder was renamed: it admits nothing more, and its remaining
/// rows go to the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_owner_whose_folder_was_renamed_stops() {
    let rig = Rig::new();
    let folder = rig.folder.path().join("journal");
    let ledger = rig.open_at(&folder, small()).unwrap();
    let begun = row("ann", 1);
    let slot = start(&ledger, &begun);
    std::fs::rename(&folder, rig.folder.path().join("journal.taken")).unwrap();
    while !ledger.stats().journal_down {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = ledger.started(&row("bob", 1));
    assert_eq!(written(&*refused), Err(JournalFull));
    slot.finished(&answered(&begun, 7));
    flushed(&ledger).await;
    assert_eq!(
        rig.store.outcomes(),
        [(begun.request_id, Outcome::Ok)].into()
    );
}
