//! What requests and the ledger's threads share: records go into the queue, and from there to the folder's segments.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use ostia_core::{Clock, LedgerRow, Outcome};
use parking_lot::Mutex;

use super::fold::{Fate, Folded, Folds};
use super::folder::{Folder, Left};
use super::options::{LedgerError, Options};
use super::queue::{Finish, Queue};
use super::record::{self, Kind};
use super::slot::OpenSlot;
use super::writer::Writer;

pub(super) struct Journal {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    opened: Instant,
    pub(super) folder: Folder,
    pub(super) queue: Arc<Queue>,
    pub(super) writer: Mutex<Writer>,
    folds: Folds,
    /// Final records that a failing disk did not take.
    pub(super) stranded: Mutex<Vec<Vec<u8>>>,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) open: AtomicUsize,
    pub(super) pending_bytes: AtomicU64,
    pub(super) folded: AtomicU64,
    pub(super) lost_rejected: AtomicU64,
    /// Requests that reached no backend, by outcome.
    pub(super) unsent: [AtomicU64; Outcome::ALL.len()],
    pub(super) unreadable: AtomicU64,
    pub(super) unreadable_bytes: AtomicU64,
    pub(super) store_down: AtomicBool,
    /// The last `started` record found no room, or was not written.
    pub(super) starved: AtomicBool,
    hanging: AtomicBool,
}

impl Journal {
    pub(super) fn open(
        path: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Vec<Left>), LedgerError> {
        let (folder, left) = Folder::open(path, &options)?;
        let writer = Writer::new(folder.next());
        folder.provide();
        let journal = Self {
            options,
            opened: clock.now(),
            clock,
            folder,
            queue: Arc::default(),
            writer: Mutex::new(writer),
            folds: Folds::default(),
            stranded: Mutex::default(),
            counters: Counters::default(),
        };
        Ok((journal, left))
    }

    pub(super) fn start(self: &Arc<Self>, row: &LedgerRow<'_>) -> OpenSlot {
        let now = self.clock.now();
        let place = record::with_buffer(|buffer| {
            record::encode(buffer, Kind::Started, row);
            let reserve = buffer.len() + record::GROWTH;
            Some((self.queue.start(buffer, reserve, now)?, reserve))
        });
        let (key, reserve) = place.unwrap_or_else(|| (self.queue.refuse(now), 0));
        self.write_if_left_alone();
        OpenSlot::new(self, key, row.request_id, reserve)
    }

    /// `false`: there is no `started` record to which this final one belongs.
    pub(super) fn finish(&self, key: usize, record: &[u8]) -> bool {
        let finish = self.queue.finish(key, record, self.clock.now());
        self.write_if_left_alone();
        finish == Finish::Queued
    }

    pub(super) fn reject(&self, row: &LedgerRow<'_>) {
        let due = match self.folds.weigh(row, self.second()) {
            Fate::Write(due) => {
                self.write_rejected(row);
                due
            }
            Fate::Folded(due) => {
                let count = u64::from(row.count);
                self.counters.folded.fetch_add(count, Ordering::Relaxed);
                due
            }
        };
        if let Some(due) = due {
            self.write_folded(&due);
        }
    }

    /// Writes the folded rows of past seconds; `all`: of the current one too.
    pub(super) fn write_folds(&self, all: bool) {
        let current = (!all).then(|| self.second());
        for due in self.folds.due(current) {
            self.write_folded(&due);
        }
    }

    fn write_folded(&self, folded: &Folded) {
        match folded.row() {
            Some(row) => self.write_rejected(&row),
            None => self.lose(folded.count()),
        }
    }

    fn write_rejected(&self, row: &LedgerRow<'_>) {
        let handed_in = record::with_buffer(|buffer| {
            record::encode(buffer, Kind::Rejected, row);
            self.queue.reject(buffer, row.count)
        });
        if !handed_in {
            self.lose(row.count);
        }
        self.write_if_left_alone();
    }

    pub(super) fn lose(&self, count: u32) {
        self.counters
            .lost_rejected
            .fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// Ends waits that have reached their limit, and reports a disk that hangs.
    pub(super) fn watch_disk(&self) {
        let now = self.clock.now();
        self.queue.expire(now);
        let hangs = self.queue.hangs(now);
        match (self.counters.hanging.swap(hangs, Ordering::Relaxed), hangs) {
            (false, true) => {
                tracing::error!(
                    "the journal's disk does not answer: requests are refused, final rows wait in memory"
                );
            }
            (true, false) => tracing::info!("the journal's disk answers again"),
            _ => {}
        }
    }

    /// Whether requests can be admitted, as far as is known without accessing the disk.
    pub(super) fn is_writable(&self) -> bool {
        let starved = self.counters.starved.load(Ordering::Relaxed) && !self.folder.has_spare();
        !starved && !self.folder.is_moved() && !self.counters.hanging.load(Ordering::Relaxed)
    }

    /// After the writer has ended, a request that hands over a record writes it itself.
    fn write_if_left_alone(&self) {
        while self.queue.is_abandoned() && self.write_next() {}
    }

    fn second(&self) -> u64 {
        self.clock
            .now()
            .saturating_duration_since(self.opened)
            .as_secs()
    }
}
