use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ostia_core::{Clock, LedgerRow, Outcome, Recorder, Slot, Store};
use tokio::sync::watch;

use super::carrier::Carrier;
use super::journal::Journal;
use super::options::{LedgerError, Options};
use super::threads::{self, Threads};

/// The journal of one state folder, and the threads that write it and carry it to the store.
///
/// What is not flushed when it is dropped stays in the folder for the next process.
pub struct Ledger {
    journal: Arc<Journal>,
    asked: watch::Sender<u64>,
    done: watch::Receiver<u64>,
    _threads: Threads,
}

/// The journal's state, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests with a `started` record and no final record yet.
    pub open_receipts: usize,
    /// Bytes handed over but not written yet.
    pub waiting_bytes: usize,
    /// Bytes written but not in the store yet, as of the carrier's last pass.
    pub pending_bytes: u64,
    /// Segment files in the folder, the spare one included.
    pub segments: usize,
    /// Refusals that are part of a folded row.
    pub folded: u64,
    /// Refusals without a row, because the journal had no room.
    pub lost_rejected: u64,
    /// Requests that ended without reaching a backend, in the order of [`Outcome::ALL`].
    pub unsent: [u64; Outcome::ALL.len()],
    /// Requests that were not admitted because the journal had no room or its disk did not answer.
    pub refused_started: u64,
    /// Segments that were put aside because parts of them cannot be read.
    pub unreadable_segments: u64,
    /// The bytes of those parts.
    pub unreadable_bytes: u64,
    /// The journal has no room, or its disk does not answer: requests are refused.
    pub journal_down: bool,
    /// The last attempt to write to the store failed.
    pub store_down: bool,
}

impl Ledger {
    /// Takes the folder (made with mode 0700 if missing) and starts to carry its contents to the store. Works without the store
    /// and with a full disk; with a full disk, requests are refused until there is room.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, belongs to another running process, or has a newer ostia's journal.
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
        let carrier = Carrier::new(Arc::clone(&journal), store, left, asked_seen, done);
        let threads = threads::start(&journal, carrier).map_err(LedgerError::Thread)?;
        Ok(Arc::new(Self {
            journal,
            asked,
            done: done_seen,
            _threads: threads,
        }))
    }

    /// Waits until everything handed over before the call is in the store, including folded refusals. `false`: that
    /// took longer than `limit`.
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
            waiting_bytes: self.journal.queue.waiting_bytes(),
            pending_bytes: counters.pending_bytes.load(Ordering::Relaxed),
            segments: self.journal.folder.segments(),
            folded: counters.folded.load(Ordering::Relaxed),
            lost_rejected: counters.lost_rejected.load(Ordering::Relaxed),
            unsent: counters
                .unsent
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
            refused_started: self.journal.queue.refused(),
            unreadable_segments: counters.unreadable.load(Ordering::Relaxed),
            unreadable_bytes: counters.unreadable_bytes.load(Ordering::Relaxed),
            journal_down: !self.journal.is_writable(),
            store_down: counters.store_down.load(Ordering::Relaxed),
        }
    }
}

impl Recorder for Ledger {
    fn started(&self, row: &LedgerRow<'_>) -> Box<dyn Slot> {
        Box::new(self.journal.start(row))
    }

    fn rejected(&self, row: &LedgerRow<'_>) {
        let counts = Outcome::ALL.iter().zip(&self.journal.counters.unsent);
        for (_, count) in counts.filter(|(outcome, _)| **outcome == row.outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.journal.reject(row);
    }
}
