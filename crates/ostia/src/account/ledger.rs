use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use ostia_core::{Clock, JournalFull, LedgerRow, Slot, Store};
use tokio::sync::watch;

use super::carrier::Carrier;
use super::journal::Journal;
use super::options::{LedgerError, Options};

/// How many polls pass before the next attempt to make a segment on a disk that had no room.
const POLLS_BETWEEN_ATTEMPTS: u32 = 5;

/// The journal of one state folder, and the thread that brings it to the store.
///
/// What was not flushed when it is dropped stays in the folder, and the next process brings it.
pub struct Ledger {
    journal: Arc<Journal>,
    asked: watch::Sender<u64>,
    done: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// How the journal stands, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests with a `started` record and no final record yet.
    pub open_receipts: usize,
    /// Written and not yet in the store, as of the writer's last pass.
    pub pending_bytes: u64,
    /// Segment files in the folder, the spare one included.
    pub segments: usize,
    /// Refusals that are part of a folded row.
    pub folded: u64,
    /// Refusals that no row tells of, as the journal had no room.
    pub lost_rejected: u64,
    /// Requests that were not let in, as the journal had no room.
    pub refused_started: u64,
    /// Segments that were put aside, as they held records that nobody could read.
    pub unreadable_segments: u64,
    /// The last attempt to write to the store failed.
    pub store_down: bool,
}

impl Ledger {
    /// Takes the folder (made with mode 0700 if missing) and starts to bring what is in it to the store. Works with the store
    /// down, and with a full disk: `started` then refuses until there is room.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, belongs to another running process, or holds a newer ostia's journal.
    pub fn open(
        folder: &Path,
        options: Options,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, LedgerError> {
        let (journal, left) = Journal::open(folder, options, clock)?;
        let journal = Arc::new(journal);
        let (asked, asked_seen) = watch::channel(0);
        let (done, done_seen) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let carrier = Carrier::new(Arc::clone(&journal), store, left, asked_seen, done);
        let thread = start(Arc::clone(&journal), carrier, stopped).map_err(LedgerError::Thread)?;
        Ok(Arc::new(Self {
            journal,
            asked,
            done: done_seen,
            stop,
            thread: Some(thread),
        }))
    }

    /// Waits until everything that was written before the call is in the store, folded refusals included. `false`: it was not
    /// within `limit`.
    pub async fn flush(&self, limit: Duration) -> bool {
        let mut mine = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        let mut done = self.done.clone();
        let flushed = done.wait_for(|&done| done >= mine);
        matches!(tokio::time::timeout(limit, flushed).await, Ok(Ok(_)))
    }

    #[cfg(test)]
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.journal.counters;
        Stats {
            open_receipts: counters.open.load(Ordering::Relaxed),
            pending_bytes: counters.pending_bytes.load(Ordering::Relaxed),
            segments: self.journal.segments(),
            folded: counters.folded.load(Ordering::Relaxed),
            lost_rejected: counters.lost_rejected.load(Ordering::Relaxed),
            refused_started: counters.refused_started.load(Ordering::Relaxed),
            unreadable_segments: counters.unreadable.load(Ordering::Relaxed),
            store_down: counters.store_down.load(Ordering::Relaxed),
        }
    }
}

impl ostia_core::Journal for Ledger {
    fn started(&self, row: &LedgerRow<'_>) -> Result<Arc<dyn Slot>, JournalFull> {
        Ok(self.journal.start(row)?)
    }

    fn rejected(&self, row: &LedgerRow<'_>) {
        self.journal.reject(row);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It stops at its next await; a panic in it was logged where it happened.
            let _ = thread.join();
        }
    }
}

/// The thread has a runtime of its own: the store's connections are driven even when all others are busy with requests.
fn start(
    journal: Arc<Journal>,
    mut carrier: Carrier,
    mut stopped: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("ostia-ledger".into())
        .spawn(move || {
            loop {
                let work = || {
                    runtime.block_on(async {
                        tokio::select! {
                            _ = stopped.wait_for(|&stopped| stopped) => {}
                            () = carrier.run() => {}
                            () = tend(&journal) => {}
                            () = keep_synced(&journal) => {}
                        }
                    });
                };
                if std::panic::catch_unwind(AssertUnwindSafe(work)).is_ok() {
                    return;
                }
                // Positions move only after commits: starting over loses nothing.
                tracing::error!("the ledger's thread panicked; it goes on");
                std::thread::sleep(Duration::from_secs(1));
            }
        })
}

/// What must go on while the store is slow: a spare segment, folded rows.
async fn tend(journal: &Journal) {
    let mut polls = 0;
    loop {
        tokio::time::sleep(journal.options.poll).await;
        journal.write_folds(false);
        if polls > 0 {
            polls -= 1;
        } else if !journal.provide() {
            polls = POLLS_BETWEEN_ATTEMPTS;
        }
    }
}

/// Apart from everything else: a disk may take minutes over one call.
async fn keep_synced(journal: &Journal) {
    let Some(interval) = journal.options.fsync else {
        return std::future::pending().await;
    };
    let mut failing = false;
    loop {
        tokio::time::sleep(interval).await;
        let segments = journal.live();
        let syncing = tokio::task::spawn_blocking(move || {
            let mut fault = None;
            // One segment's trouble does not keep the others unsynced.
            for segment in segments {
                fault = segment.sync().err().or(fault);
            }
            fault
        });
        let Ok(fault) = syncing.await else { continue };
        match &fault {
            Some(error) if !failing => {
                tracing::error!(%error, "the journal cannot be synced to its disk; it is tried again");
            }
            None if failing => tracing::info!("the journal is synced again"),
            _ => {}
        }
        failing = fault.is_some();
    }
}
