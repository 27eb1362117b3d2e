use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use ostia_core::{JournalFull, LedgerRow, RequestId, Slot};

use super::journal::Journal;
use super::record;

/// A request that was handed over, and its place in the queue.
pub(super) struct OpenSlot {
    journal: Arc<Journal>,
    key: usize,
    request_id: RequestId,
    /// Bytes reserved for the final record.
    reserve: usize,
    finished: AtomicBool,
}

impl OpenSlot {
    pub(super) fn new(
        journal: &Arc<Journal>,
        key: usize,
        request_id: RequestId,
        reserve: usize,
    ) -> Self {
        journal.counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            journal: Arc::clone(journal),
            key,
            request_id,
            reserve,
            finished: AtomicBool::new(false),
        }
    }
}

impl Slot for OpenSlot {
    fn finished(&self, row: &LedgerRow<'_>) {
        if self.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let started = record::with_buffer(|buffer| {
            record::encode_final(buffer, row, self.reserve);
            self.journal.finish(self.key, buffer)
        });
        if !started {
            self.journal.reject(row);
        }
        self.journal.counters.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn poll_written(&self, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>> {
        self.journal.queue.poll(self.key, task)
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        if !*self.finished.get_mut() {
            record::with_buffer(|buffer| {
                record::encode_abandoned(buffer, self.request_id);
                // Without a `started` record there is nothing to abandon.
                self.journal.finish(self.key, buffer)
            });
            self.journal.counters.open.fetch_sub(1, Ordering::Relaxed);
        }
        self.journal.queue.release(self.key);
    }
}
