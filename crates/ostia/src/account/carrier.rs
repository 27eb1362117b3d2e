//! Carries the journal's records to the store and removes the files that are done.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ostia_core::{LedgerRow, RequestId, Store, StoreError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::folder::Left;
use super::journal::{Counters, Journal};
use super::record;
use super::tail::{Tail, Unreadable};
use super::usage_event;

const INSERT_TIMEOUT: Duration = Duration::from_secs(30);
/// If more bytes of one file than this wait for the store, it takes longer than a moment.
const BEHIND: u64 = 16 << 20;
const LONGEST_REST: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why rows could not be written to the store. They stay in the journal.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store did not answer in {INSERT_TIMEOUT:?}")]
    Slow,
    #[error("reading the journal: {0}")]
    Disk(#[from] io::Error),
}

pub(super) struct Carrier {
    journal: Arc<Journal>,
    store: Arc<dyn Store>,
    /// Oldest first.
    tails: Vec<Tail>,
    buffer: Vec<u8>,
    /// Requests whose final rows came from memory because the disk had failed: they were not interrupted.
    rescued: HashSet<RequestId>,
    pause: Duration,
    /// Somebody waits for a flush.
    hurries: bool,
    /// The last flush that was asked for, and the last that is done.
    asked: watch::Receiver<u64>,
    done: watch::Sender<u64>,
}

impl Carrier {
    pub(super) fn new(
        journal: Arc<Journal>,
        store: Arc<dyn Store>,
        left: Vec<Left>,
        asked: watch::Receiver<u64>,
        done: watch::Sender<u64>,
    ) -> Self {
        let tails = left
            .into_iter()
            .map(|(segment, committed)| Tail::new(segment, committed))
            .collect();
        Self {
            journal,
            store,
            tails,
            buffer: Vec::new(),
            rescued: HashSet::new(),
            pause: Duration::ZERO,
            hurries: false,
            asked,
            done,
        }
    }

    /// Never ends. May be dropped at any await: positions move only after commits.
    pub(super) async fn run(&mut self) {
        loop {
            let asked = *self.asked.borrow_and_update();
            let is_asked = asked > *self.done.borrow();
            self.hurries = is_asked;
            if is_asked {
                self.journal.write_folds(true);
            }
            let poll = self.journal.options.poll;
            // Records that wait for a hanging disk do not delay those that are written.
            let drained = !is_asked || timeout(poll, self.journal.queue.drained()).await.is_ok();
            let passed = self.pass().await;
            // Matters most while the store is down.
            self.measure();
            let wait = match passed {
                Ok(()) => {
                    self.note_success();
                    if drained {
                        self.done.send_replace(asked);
                    }
                    poll
                }
                Err(hindrance) => self.note_failure(&hindrance),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.asked.changed() => {}
            }
        }
    }

    /// Writes everything to the store that was in the journal before the call.
    async fn pass(&mut self) -> Result<(), Hindrance> {
        let fresh = self.journal.folder.take_fresh();
        self.tails
            .extend(fresh.into_iter().map(|segment| Tail::new(segment, 0)));
        for tail in &mut self.tails {
            tail.complete = tail.segment.is_complete();
        }
        self.carry_stranded().await?;
        let mut trouble = None;
        let mut index = 0;
        while index < self.tails.len() {
            match self.carry(index).await {
                Ok(ControlFlow::Break(())) => {
                    self.tails.remove(index);
                    continue;
                }
                Ok(ControlFlow::Continue(())) => {}
                // One file that cannot be read must not delay the others.
                Err(Hindrance::Disk(error)) => trouble = Some(Hindrance::Disk(error)),
                Err(hindrance) => return Err(hindrance),
            }
            index += 1;
        }
        trouble.map_or(Ok(()), Err)
    }

    /// Final rows that the disk did not take, so they are only in memory.
    async fn carry_stranded(&mut self) -> Result<(), Hindrance> {
        let records = self.journal.stranded.lock().clone();
        if records.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = records
            .iter()
            .filter_map(|record| record::decode(record))
            .collect();
        insert(&*self.store, &rows).await?;
        self.rescued.extend(rows.iter().map(|row| row.request_id));
        self.journal.stranded.lock().drain(..records.len());
        Ok(())
    }

    /// Reads one tail to its present end. `Break`: the segment is finished and gone.
    async fn carry(&mut self, index: usize) -> Result<ControlFlow<()>, Hindrance> {
        let Some(tail) = self.tails.get_mut(index) else {
            return Ok(ControlFlow::Continue(()));
        };
        let end = tail.segment.len()?;
        while tail.position() < end {
            let batch = tail.read(&mut self.buffer)?;
            if batch.next() == tail.position() {
                break;
            }
            let begun = self.journal.clock.now();
            insert(&*self.store, &batch.rows).await?;
            let took = self.journal.clock.now().saturating_duration_since(begun);
            let now = Some(self.journal.clock.unix_micros());
            interrupt(&*self.store, tail, batch.abandoned(), now).await?;
            let read = batch.into_read();
            tail.commit(read)?;
            // Requests get the core for as long as this batch took, unless somebody waits for a flush or the journal is
            // filling up.
            if !self.hurries && end.saturating_sub(tail.position()) < BEHIND {
                tokio::time::sleep(took.min(LONGEST_REST)).await;
            }
        }
        if !tail.complete {
            return Ok(ControlFlow::Continue(()));
        }
        self.finish(index).await
    }

    /// The segment was read to its end, and nobody writes to it: requests that are still open were interrupted. A file
    /// that cannot be removed is not a problem, because its rows are in the store.
    async fn finish(&mut self, index: usize) -> Result<ControlFlow<()>, Hindrance> {
        let Some(tail) = self.tails.get_mut(index) else {
            return Ok(ControlFlow::Continue(()));
        };
        let rescued: Vec<_> = tail.open().filter(|id| self.rescued.remove(id)).collect();
        for id in rescued {
            tail.forget(id);
        }
        loop {
            let open = tail.some_open();
            if open.is_empty() {
                break;
            }
            interrupt(&*self.store, tail, &open, None).await?;
            for (id, _) in open {
                tail.forget(id);
            }
        }
        let first_time = !tail.finished;
        if first_time {
            tail.count_rest(tail.segment.len()?)?;
            tail.finished = true;
            if !tail.is_readable() {
                let path = tail.segment.path();
                note_unreadable(&self.journal.counters, path, tail.unreadable());
            }
        }
        let path = tail.segment.path().display();
        let folder = &self.journal.folder;
        match folder.remove(&tail.segment, tail.is_readable()) {
            Ok(()) => return Ok(ControlFlow::Break(())),
            Err(error) if first_time => {
                tracing::error!(%path, %error, "a finished file of the journal cannot be removed; it is tried again");
            }
            Err(_) => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn measure(&self) {
        let pending = self.tails.iter().map(|tail| {
            let end = tail.segment.len().unwrap_or(0);
            end.saturating_sub(tail.position())
        });
        let counters = &self.journal.counters;
        counters
            .pending_bytes
            .store(pending.sum(), Ordering::Relaxed);
    }

    fn note_success(&mut self) {
        self.pause = Duration::ZERO;
        if self
            .journal
            .counters
            .store_down
            .swap(false, Ordering::Relaxed)
        {
            tracing::info!("the ledger is written again");
        }
    }

    /// How long to wait before the next attempt.
    fn note_failure(&mut self, hindrance: &Hindrance) -> Duration {
        if !self
            .journal
            .counters
            .store_down
            .swap(true, Ordering::Relaxed)
        {
            tracing::error!(error = %hindrance, "the ledger cannot be written; rows wait in the journal");
        }
        let least = self.journal.options.poll;
        self.pause = (self.pause * 2).clamp(least, LONGEST_PAUSE.max(least));
        self.pause
    }
}

async fn insert(store: &dyn Store, rows: &[LedgerRow<'_>]) -> Result<(), Hindrance> {
    if rows.is_empty() {
        return Ok(());
    }
    match timeout(INSERT_TIMEOUT, store.insert_rows(rows)).await {
        Ok(inserted) => inserted?,
        Err(_) => return Err(Hindrance::Slow),
    };
    rows.iter().for_each(usage_event::emit);
    Ok(())
}

/// Part of a segment is damaged, as after a power failure, or was written by a newer ostia. Its rows exist nowhere
/// else.
fn note_unreadable(counters: &Counters, path: &Path, unreadable: Unreadable) {
    counters.unreadable.fetch_add(1, Ordering::Relaxed);
    let counted = &counters.unreadable_bytes;
    counted.fetch_add(unreadable.bytes, Ordering::Relaxed);
    let (path, bytes) = (path.display(), unreadable.bytes);
    let records = match unreadable.newer {
        Some(version) => format!("records of version {version}, of a newer ostia"),
        None => "records that cannot be read".to_owned(),
    };
    tracing::error!(%path, bytes, "the journal holds {records}: their rows are missing; the file is kept");
}

/// Makes rows from the `started` records of requests that nobody will finish.
async fn interrupt(
    store: &dyn Store,
    tail: &Tail,
    requests: &[(RequestId, u64)],
    now: Option<i64>,
) -> Result<(), Hindrance> {
    if requests.is_empty() {
        return Ok(());
    }
    let records = tail.started(requests.iter().map(|&(_, at)| at))?;
    let rows: Vec<_> = records
        .iter()
        .filter_map(|record| tail.interrupted(record, now))
        .collect();
    insert(store, &rows).await
}
