//! Reads one segment after its writer: rows for the store, and requests that are still open.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use foldhash::fast::RandomState;
use ostia_core::{LedgerRow, Outcome, RequestId};

use super::record::{self, Kind, Record, Step};
use super::segment::{HEADER, Segment};

/// Rows of one transaction.
const BATCH: usize = 500;
const WINDOW: usize = 256 << 10;
const LARGEST: usize = record::HEAD + record::MAX_LEN;

pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    /// Everything before it is in the store, or does not have to be.
    position: u64,
    /// Rows before it were in the store when this process started.
    committed: u64,
    /// Where the `started` record of each request without a final record is.
    open: HashMap<RequestId, u64, RandomState>,
    /// The latest time in any record.
    latest: i64,
    /// Nothing more will be written. Set before reading, so that everything written by then is read.
    pub(super) complete: bool,
    /// All of it is in the store, and only its file is left.
    pub(super) finished: bool,
    unreadable: Unreadable,
}

/// What this ostia cannot read in a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unreadable {
    /// Bytes that may have held rows.
    pub(super) bytes: u64,
    /// The newest version among its records, if that is newer than this ostia's.
    pub(super) newer: Option<u8>,
}

/// What was read from a segment but is not in the store yet.
pub(super) struct Batch<'b> {
    pub(super) rows: Vec<LedgerRow<'b>>,
    /// Requests that need no `interrupted` row once this batch is in the store.
    closed: Vec<RequestId>,
    /// Requests that were abandoned, with the positions of their `started` records.
    abandoned: Vec<(RequestId, u64)>,
    next: u64,
    unreadable: Unreadable,
}

impl Tail {
    pub(super) fn new(segment: Arc<Segment>, committed: u64) -> Self {
        Self {
            segment,
            position: HEADER as u64,
            committed,
            open: HashMap::default(),
            latest: 0,
            complete: false,
            finished: false,
            unreadable: Unreadable::default(),
        }
    }

    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Whether all of it could be read.
    pub(super) const fn is_readable(&self) -> bool {
        self.unreadable.bytes == 0
    }

    pub(super) const fn unreadable(&self) -> Unreadable {
        self.unreadable
    }

    /// The segment was read to its end, `end`: counts the rest, which cannot be read. An incomplete record does not
    /// count: its process died while writing it, and nobody was told that it was written.
    pub(super) fn count_rest(&mut self, end: u64) -> io::Result<()> {
        let mut rest = vec![0; LARGEST];
        let filled = self.segment.read_at(&mut rest, self.position)?;
        let step = record::parse(&rest[..filled], self.segment.salt());
        let left = usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let lost = match step {
            Step::Unfinished => 0,
            Step::Record(..) | Step::Torn => self.lost(self.position, left),
        };
        self.unreadable.bytes += lost;
        Ok(())
    }

    pub(super) fn open(&self) -> impl Iterator<Item = RequestId> {
        self.open.keys().copied()
    }

    pub(super) fn forget(&mut self, id: RequestId) {
        self.open.remove(&id);
    }

    /// Decodes the next records into rows that borrow `buffer`. Reading the same batch again gives the same.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> io::Result<Batch<'b>> {
        buffer.resize(WINDOW, 0);
        let filled = self.segment.read_at(buffer, self.position)?;
        let bytes = &buffer[..filled];
        let mut batch = Batch {
            rows: Vec::new(),
            closed: Vec::new(),
            abandoned: Vec::new(),
            next: self.position,
            unreadable: Unreadable::default(),
        };
        let mut at = 0;
        while batch.rows.len() + batch.abandoned.len() < BATCH {
            match record::parse(&bytes[at..], self.segment.salt()) {
                Step::Record(record, len) => {
                    if !self.take(&record, self.position + at as u64, &mut batch) {
                        batch.unreadable.note(&record, len);
                    }
                    at += len;
                }
                step => match self.skip(&bytes[at..], filled == WINDOW, &step) {
                    Some(skipped) => {
                        batch.unreadable.bytes += self.lost(self.position + at as u64, skipped);
                        at += skipped;
                    }
                    None => break,
                },
            }
        }
        batch.next = self.position + at as u64;
        Ok(batch)
    }

    /// How many bytes to skip that are not a record; `None`: there is nothing more for now.
    fn skip(&self, bytes: &[u8], more_follow: bool, step: &Step<'_>) -> Option<usize> {
        if more_follow && bytes.len() < LARGEST {
            return None;
        }
        let may_still_come = matches!(step, Step::Unfinished);
        if bytes.is_empty() || (may_still_come && !self.complete && !self.segment.is_torn()) {
            return None;
        }
        let next = record::resume(bytes, self.segment.salt());
        match next {
            None if more_follow => Some(bytes.len() - LARGEST + 1),
            found => found,
        }
    }

    /// How many of `skipped` bytes may have been rows that are not in the store. A record that this process could not
    /// write completely is not lost: its request was refused, or it is kept in memory.
    fn lost(&self, at: u64, skipped: usize) -> u64 {
        let end = at + skipped as u64;
        match self.segment.is_torn() {
            true => 0,
            false => end.saturating_sub(at.max(self.committed)),
        }
    }

    /// `false`: it cannot be read.
    fn take<'b>(&mut self, record: &Record<'b>, at: u64, batch: &mut Batch<'b>) -> bool {
        let known = match record.kind {
            Some(Kind::Abandoned) => record.abandoned().map(|id| {
                if let (Some(&started), true) = (self.open.get(&id), at >= self.committed) {
                    batch.abandoned.push((id, started));
                }
                batch.closed.push(id);
            }),
            Some(Kind::Started) => record.glance().map(|(id, finished_at)| {
                self.latest = self.latest.max(finished_at);
                self.open.insert(id, at);
            }),
            Some(kind @ (Kind::Final | Kind::Rejected)) => record.row().map(|row| {
                self.latest = self.latest.max(row.finished_at);
                if kind == Kind::Final {
                    batch.closed.push(row.request_id);
                }
                if at >= self.committed {
                    batch.rows.push(row);
                }
            }),
            None => None,
        };
        known.is_some()
    }

    /// The batch is in the store.
    pub(super) fn commit(&mut self, read: Read) -> io::Result<()> {
        for id in &read.closed {
            self.open.remove(id);
        }
        self.unreadable.bytes += read.unreadable.bytes;
        self.unreadable.newer = self.unreadable.newer.max(read.unreadable.newer);
        self.position = read.next;
        if self.position <= self.committed {
            return Ok(());
        }
        self.committed = self.position;
        self.segment.commit(self.position)
    }

    /// The `started` records of requests without a final record, as they are in the file. `interrupted` makes rows from
    /// them.
    pub(super) fn started(&self, at: impl IntoIterator<Item = u64>) -> io::Result<Vec<Vec<u8>>> {
        at.into_iter()
            .map(|at| {
                let mut bytes = vec![0; LARGEST];
                let filled = self.segment.read_at(&mut bytes, at)?;
                bytes.truncate(filled);
                Ok(bytes)
            })
            .collect()
    }

    /// The positions of up to a batch of `started` records of open requests.
    pub(super) fn some_open(&self) -> Vec<(RequestId, u64)> {
        self.open
            .iter()
            .take(BATCH)
            .map(|(&id, &at)| (id, at))
            .collect()
    }

    /// A row for a request that nobody will finish, from its `started` record.
    pub(super) fn interrupted<'b>(
        &self,
        bytes: &'b [u8],
        now: Option<i64>,
    ) -> Option<LedgerRow<'b>> {
        let Step::Record(record, _) = record::parse(bytes, self.segment.salt()) else {
            return None;
        };
        let row = record.row()?;
        // The time of the process's death is unknown, so its last record's time is used.
        let finished_at = now.unwrap_or(self.latest).max(row.started_at);
        let micros = finished_at.saturating_sub(row.started_at);
        Some(LedgerRow {
            outcome: Outcome::Interrupted,
            finished_at,
            duration_ms: u64::try_from(micros / 1_000).unwrap_or(0),
            ..row
        })
    }
}

/// A batch without what it borrows.
pub(super) struct Read {
    closed: Vec<RequestId>,
    next: u64,
    unreadable: Unreadable,
}

impl Unreadable {
    fn note(&mut self, record: &Record<'_>, len: usize) {
        self.bytes += len as u64;
        let newer = (record.version > record::VERSION).then_some(record.version);
        self.newer = self.newer.max(newer);
    }
}

impl<'b> Batch<'b> {
    pub(super) fn abandoned(&self) -> &[(RequestId, u64)] {
        &self.abandoned
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn into_read(self) -> Read {
        Read {
            closed: self.closed,
            next: self.next,
            unreadable: self.unreadable,
        }
    }
}
