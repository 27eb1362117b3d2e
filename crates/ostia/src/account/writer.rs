//! The one who writes: takes what waits in the queue, finds room for it, and appends it with one `write` a segment.

use std::io;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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

/// What one segment gets of a batch. Meanwhile the segment is not complete.
struct Output {
    segment: Arc<Segment>,
    bytes: Vec<u8>,
    /// The batch's entries in it, and where each ends.
    ends: Vec<(usize, usize)>,
}

impl Journal {
    /// Writes what was handed in, or waits for something. `false`: nothing will come any more.
    pub(super) fn write_next(&self) -> bool {
        let mut writer = self.writer.lock();
        let Writer { batch, .. } = &mut *writer;
        if !self.queue.take(batch, || self.clock.now()) {
            return false;
        }
        let mut batch = take(batch);
        // What a panic leaves unwritten is treated like what a failing disk does.
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

    /// Whoever leaves the segment does so last: who sees the segment complete must find its rows.
    fn settle(&self, entry: &mut Entry, record: &[u8]) {
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
        let mut outputs: Vec<Output> = Vec::new();
        let mut at = 0;
        for (index, entry) in batch.entries.iter_mut().enumerate() {
            let record = &batch.bytes[at..at + entry.len];
            at += entry.len;
            let Some(segment) = self.place(entry, folder) else {
                continue;
            };
            let known = |output: &&mut Output| Arc::ptr_eq(&output.segment, &segment);
            match outputs.iter_mut().find(known) {
                Some(output) => output.put(index, record),
                None => {
                    let mut output = Output::new(segment, batch.bytes.len());
                    output.put(index, record);
                    outputs.push(output);
                }
            }
        }
        for output in &outputs {
            let (written, fault) = output.segment.append(&output.bytes);
            let whole = output.ends.iter().take_while(|(_, end)| *end <= written);
            for &(index, _) in whole {
                batch.entries[index].is_written = true;
            }
            if let Some(error) = fault {
                report(&error, output, batch);
                // Others try another file.
                output.segment.seal();
            }
        }
    }

    /// Where a record goes: room is promised, or was when its request began.
    fn place(&mut self, entry: &mut Entry, folder: &Folder) -> Option<Arc<Segment>> {
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
        }
    }

    /// The active segment, or the next, if it promises what is asked of it.
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

impl Output {
    fn new(segment: Arc<Segment>, bytes: usize) -> Self {
        segment.hold();
        Self {
            segment,
            bytes: Vec::with_capacity(bytes),
            ends: Vec::new(),
        }
    }

    fn put(&mut self, index: usize, record: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(record);
        record::seal(&mut self.bytes[begin..], self.segment.salt());
        self.ends.push((index, self.bytes.len()));
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.segment.leave();
    }
}

fn report(error: &io::Error, output: &Output, batch: &Batch) {
    let lost = output.ends.iter().filter(|(index, _)| {
        let entry = &batch.entries[*index];
        matches!(entry.what, What::Final { .. }) && !entry.is_written
    });
    let path = output.segment.path().display();
    let kept = lost.count();
    tracing::error!(%path, %error, kept, "the journal's disk failed: final rows are kept in memory");
}
