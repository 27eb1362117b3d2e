use std::sync::Arc;
use std::task::Waker;

use crate::account::segment::Segment;

/// A batch keeps this much memory for the next one, even after a hanging disk made it larger.
const KEPT_BYTES: usize = 256 << 10;
const KEPT_ENTRIES: usize = 1_024;

/// Records in the order in which they were handed over.
#[derive(Default)]
pub(in crate::account) struct Batch {
    /// One after the other, without their heads.
    pub(in crate::account) bytes: Vec<u8>,
    pub(in crate::account) entries: Vec<Entry>,
    /// Empty; kept for its memory.
    pub(super) wakers: Vec<Waker>,
}

pub(in crate::account) struct Entry {
    pub(in crate::account) what: What,
    pub(in crate::account) len: usize,
    /// The segment to write to. A final record goes to the segment that has its `started` record; the writer chooses
    /// for others.
    pub(in crate::account) home: Option<Arc<Segment>>,
    pub(in crate::account) is_written: bool,
}

/// `key`: the request's place; `reserve`: how many bytes are reserved for its final record.
#[derive(Debug, Clone, Copy)]
pub(in crate::account) enum What {
    Started {
        key: usize,
        reserve: usize,
    },
    Final {
        key: usize,
        reserve: usize,
    },
    /// A row that stands for this many refusals.
    Rejected(u32),
    /// A `started` record whose request left before it was taken. It is not written.
    Withdrawn,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, what: What, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.entries.push(Entry {
            what,
            len: record.len(),
            home: None,
            is_written: false,
        });
    }

    pub(super) fn withdraw(&mut self, index: u64) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.what = What::Withdrawn;
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.shrink_to(KEPT_ENTRIES);
        self.wakers.shrink_to(KEPT_ENTRIES);
    }
}
