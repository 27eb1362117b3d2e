use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ostia_core::{LedgerRow, RequestId, Slot};

use super::journal::Journal;
use super::record;
use super::segment::Segment;

/// The room of one open request, in the segment that has its `started` record.
pub(super) struct OpenSlot {
    journal: Arc<Journal>,
    segment: Arc<Segment>,
    request_id: RequestId,
    /// Bytes kept for the final record.
    reserve: usize,
    finished: AtomicBool,
}

impl OpenSlot {
    /// The slot takes over what `Segment::enter` counted.
    pub(super) fn new(
        journal: &Arc<Journal>,
        segment: Arc<Segment>,
        request_id: RequestId,
        reserve: usize,
    ) -> Self {
        journal.counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            journal: Arc::clone(journal),
            segment,
            request_id,
            reserve,
            finished: AtomicBool::new(false),
        }
    }

    fn append(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.segment.append(buffer)?;
        self.segment
            .give_back(self.reserve.saturating_sub(buffer.len()));
        Ok(())
    }

    fn leave(&self) {
        self.segment.leave();
        self.journal.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot for OpenSlot {
    fn finished(&self, row: &LedgerRow<'_>) {
        if self.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        record::with_buffer(|buffer| {
            record::encode_final(buffer, row, self.reserve);
            if let Err(error) = self.append(buffer) {
                tracing::error!(request_id = %self.request_id, %error, "the journal's disk failed: a final row is kept in memory");
                self.segment.seal();
                // Before `leave`: whoever sees the segment complete must find the row here.
                self.journal.stranded.lock().push(buffer.clone());
            }
        });
        self.leave();
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        if *self.finished.get_mut() {
            return;
        }
        record::with_buffer(|buffer| {
            record::encode_abandoned(buffer, self.request_id);
            // If even this fails, the row is made when its segment ends.
            let _ = self.append(buffer);
        });
        self.leave();
    }
}
