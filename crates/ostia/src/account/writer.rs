//! The writer's thread: takes what waits in the queue, finds room for each record, and appends neighbours in the same
//! segment with one `write`.

use std::io;
use std::mem::take;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::folder::Folder;
use super::journal::Journal;
use super::queue::{Batch, Entry, What};
use super::record;
use super::segment::Segment;

#[derive(Default)]
pub(super) struct Writer {
    active: Option<Arc<Segment>>,
    batch: Batch,
}

/// Neighbours in a batch that go to one segment, which cannot become complete meanwhile.
struct Run {
    segment: Arc<Segment>,
    bytes: Range<usize>,
    entries: Range<usize>,
}

impl Journal {
    /// Writes what was handed over, or waits for something. `false`: nothing more will come.
    pub(super) fn write_next(&self) -> bool {
        let mut writer = self.writer.lock();
        let mut batch = take(&mut writer.batch);
        if !self.queue.take(&mut batch, || self.clock.now()) {
            return false;
        }
        // What a panic leaves unwritten is treated like what a failing disk does not take.
        let written = catch_unwind(AssertUnwindSafe(|| writer.write(&mut batch, &self.folder)));
        if written.is_err() {
            tracing::error!("writing to the journal panicked; it goes on");
        }
        let mut at = 0;
        for entry in &mut batch.entries {
            let record = &batch.bytes[at..at + entry.len];
            at += entry.len;
            self.settle(entry, record);
        }
        self.queue.complete(&mut batch);
        writer.batch = batch;
        true
    }

    /// Leaves the segment last, so that its rows are there when the carrier sees it complete.
    fn settle(&self, entry: &mut Entry, record: &[u8]) {
        if let What::Started { .. } = entry.what {
            let starved = &self.counters.starved;
            starved.store(!entry.is_written, Ordering::Relaxed);
        }
        match (entry.what, &entry.home, entry.is_written) {
            (What::Started { .. }, Some(home), false) => {
                home.leave();
                entry.home = None;
            }
            (What::Final { reserve, .. }, Some(home), true) => {
                home.give_back(reserve.saturating_sub(entry.len));
                home.leave();
            }
            (What::Final { .. }, Some(home), false) => {
                self.stranded.lock().push(record.to_vec());
                home.leave();
            }
            (What::Rejected(count), _, false) => self.lose(count),
            (What::Final { .. }, None, false) => self.lose(1),
            _ => {}
        }
    }
}

impl Writer {
    pub(super) fn new(active: Option<Arc<Segment>>) -> Self {
        Self {
            active,
            ..Self::default()
        }
    }

    fn write(&mut self, batch: &mut Batch, folder: &Folder) {
        let mut run: Option<Run> = None;
        let mut at = 0;
        for index in 0..batch.entries.len() {
            let entry = &mut batch.entries[index];
            let bytes = at..at + entry.len;
            at = bytes.end;
            let Some(segment) = self.place(entry, folder) else {
                continue;
            };
            record::seal(&mut batch.bytes[bytes.clone()], segment.salt());
            match &mut run {
                Some(run) if run.goes_on(&segment, index) => run.extend(bytes),
                _ => {
                    let next = Run::new(segment, bytes, index);
                    if let Some(whole) = run.replace(next) {
                        whole.append(batch);
                    }
                }
            }
        }
        if let Some(last) = run {
            last.append(batch);
        }
    }

    /// Where a record goes: to a segment that has room, or that promised it when the request began.
    fn place(&mut self, entry: &mut Entry, folder: &Folder) -> Option<Arc<Segment>> {
        if folder.is_moved() {
            return None;
        }
        match entry.what {
            What::Started { reserve, .. } => {
                let bytes = entry.len + reserve;
                entry.home = self.find(folder, |segment| segment.enter(bytes));
                entry.home.clone()
            }
            What::Final { .. } if entry.home.is_some() => entry.home.clone(),
            What::Final { .. } | What::Rejected(_) => {
                self.find(folder, |segment| segment.take(entry.len))
            }
            What::Withdrawn => None,
        }
    }

    /// The active segment, or the next one if that promises the room.
    fn find(
        &mut self,
        folder: &Folder,
        promises: impl Fn(&Segment) -> bool,
    ) -> Option<Arc<Segment>> {
        if let Some(active) = &self.active
            && promises(active)
        {
            return Some(Arc::clone(active));
        }
        let next = folder.next()?;
        if let Some(full) = self.active.replace(Arc::clone(&next)) {
            full.seal();
        }
        promises(&next).then_some(next)
    }
}

impl Run {
    fn new(segment: Arc<Segment>, bytes: Range<usize>, index: usize) -> Self {
        segment.hold();
        Self {
            segment,
            bytes,
            entries: index..index + 1,
        }
    }

    fn goes_on(&self, segment: &Arc<Segment>, index: usize) -> bool {
        Arc::ptr_eq(&self.segment, segment) && self.entries.end == index
    }

    fn extend(&mut self, bytes: Range<usize>) {
        self.bytes.end = bytes.end;
        self.entries.end += 1;
    }

    fn append(self, batch: &mut Batch) {
        let (mut written, fault) = self.segment.append(&batch.bytes[self.bytes.clone()]);
        let entries = &mut batch.entries[self.entries.clone()];
        for entry in &mut *entries {
            let Some(rest) = written.checked_sub(entry.len) else {
                break;
            };
            entry.is_written = true;
            written = rest;
        }
        if let Some(error) = fault {
            report(&error, &self.segment, entries);
            // Others try another file.
            self.segment.seal();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.segment.leave();
    }
}

fn report(error: &io::Error, segment: &Segment, entries: &[Entry]) {
    let kept = entries
        .iter()
        .filter(|entry| matches!(entry.what, What::Final { .. }) && !entry.is_written);
    let (path, kept) = (segment.path().display(), kept.count());
    tracing::error!(%path, %error, kept, "the journal's disk failed: final rows are kept in memory");
}
