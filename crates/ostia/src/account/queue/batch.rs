use std::sync::Arc;
use std::task::Waker;

use crate::account::segment::Segment;

/// A batch keeps its memory for the next one, but not what a disk that hung has made of it.
const KEPT_BYTES: usize = 256 << 10;
const KEPT_ENTRIES: usize = 1_024;

/// Records in the order in which they were handed in.
#[derive(Default)]
pub(in crate::account) struct Batch {
    /// One behind the other, without their heads.
    pub(in crate::account) bytes: Vec<u8>,
    pub(in crate::account) entries: Vec<Entry>,
    /// Empty; kept for its memory.
    pub(super) wakers: Vec<Waker>,
}

pub(in crate::account) struct Entry {
    pub(in crate::account) what: What,
    pub(in crate::account) len: usize,
    /// Where it belongs. A final record: the segment that has its `started` record. Others: what the writer chose.
    pub(in crate::account) home: Option<Arc<Segment>>,
    pub(in crate::account) is_written: bool,
}

/// `key` is the request's place; `reserve` are the bytes that are kept for its final record.
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
