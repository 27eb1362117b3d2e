//! Records on their way from requests to the thread that writes them. Nothing here waits for a disk: one lock guards
//! everything, and it is held only as long as it takes to copy a record.
//!
//! Memory is bounded: `started` records and refusals by `MOST_BYTES`, final records by the requests that were let in.

mod batch;
mod kick;
mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ostia_core::JournalFull;
use parking_lot::{Condvar, Mutex, MutexGuard};
use slab::Slab;
use tokio::sync::watch;

pub(super) use batch::{Batch, Entry, What};
use kick::kick_soon;
use place::{Phase, Place};

/// How long a request waits for the disk. Without its `started` record it is then refused; without its final record the
/// answer is completed nevertheless.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// With this much in memory, no request is admitted, and refusals are only counted.
const MOST_BYTES: usize = 4 << 20;
/// With this many records the writer is woken at once.
const FULL_BATCH: usize = 32;

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// The writer has ended, so a request that hands over a record must write it.
    is_abandoned: AtomicBool,
    /// Requests that were not admitted.
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: Batch,
    places: Slab<Place>,
    /// When the writer took what it is writing, and how many bytes that is.
    writing: Option<(Instant, usize)>,
    /// Records are numbered. The last one handed over, the last one that the writer took, and the last one that it
    /// finished.
    last: u64,
    taken: u64,
    done: watch::Sender<u64>,
    /// Somebody is about to wake the writer.
    kicked: bool,
    closed: bool,
}

/// What became of a final record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Queued,
    /// There is no `started` record, and there will not be one: the row is treated as a refusal's.
    NeverStarted,
}

impl Queue {
    /// Hands over a `started` record and returns the request's place. `None`: too much is waiting already.
    pub(super) fn start(
        self: &Arc<Self>,
        record: &[u8],
        reserve: usize,
        now: Instant,
    ) -> Option<usize> {
        let mut state = self.state.lock();
        if state.is_full() {
            return None;
        }
        let number = state.last + 1;
        let key = state.places.insert(Place::starting(number, reserve, now));
        state.push(What::Started { key, reserve }, record);
        self.handed_in(state);
        Some(key)
    }

    /// The place of a request that cannot be recorded.
    pub(super) fn refuse(&self, now: Instant) -> usize {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.state.lock().places.insert(Place::refused(now))
    }

    /// Hands over a final record.
    pub(super) fn finish(self: &Arc<Self>, key: usize, record: &[u8], now: Instant) -> Finish {
        let mut state = self.state.lock();
        let finish = state.finish(key, record, now);
        if finish == Finish::Queued {
            self.handed_in(state);
        }
        finish
    }

    /// The request is gone.
    pub(super) fn release(&self, key: usize) {
        let mut state = self.state.lock();
        match state.places.get_mut(key) {
            Some(place) if place.phase == Phase::Ending => place.orphan = true,
            _ => drop(state.places.try_remove(key)),
        }
    }

    /// Hands over a refusal's row. `false`: too much is waiting already.
    pub(super) fn reject(self: &Arc<Self>, record: &[u8], count: u32) -> bool {
        let mut state = self.state.lock();
        let fits = !state.is_full();
        if fits {
            state.push(What::Rejected(count), record);
            self.handed_in(state);
        }
        fits
    }

    pub(super) fn poll(&self, key: usize, task: &mut Context<'_>) -> Poll<Result<(), JournalFull>> {
        let mut state = self.state.lock();
        match state.places.get_mut(key) {
            Some(place) => place.poll(task),
            None => Poll::Ready(Err(JournalFull)),
        }
    }

    /// Waits for records and puts them into `batch`, which must be empty. `false`: the queue is closed and empty.
    pub(super) fn take(&self, batch: &mut Batch, now: impl FnOnce() -> Instant) -> bool {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                self.is_abandoned.store(true, Ordering::Relaxed);
                return false;
            }
            self.work.wait(&mut state);
        }
        std::mem::swap(&mut state.waiting, batch);
        state.taken = state.last;
        state.writing = Some((now(), batch.bytes.len()));
        for entry in &mut batch.entries {
            if let What::Final { key, .. } = entry.what {
                entry.home = state.places.get_mut(key).and_then(Place::take_segment);
            }
        }
        true
    }

    /// The writer has finished `batch`. Empties it.
    pub(super) fn complete(&self, batch: &mut Batch) {
        let mut wakers = std::mem::take(&mut batch.wakers);
        let mut state = self.state.lock();
        state.writing = None;
        for entry in batch.entries.drain(..) {
            match entry.what {
                What::Started { key, .. } => {
                    if let Some(place) = state.places.get_mut(key) {
                        let refused = place.started(entry.home);
                        self.count_refused(refused);
                        wakers.extend(place.waker.take());
                    }
                }
                What::Final { key, .. } => wakers.extend(state.ended(key)),
                What::Rejected(_) | What::Withdrawn => {}
            }
        }
        state.done.send_replace(state.taken);
        drop(state);
        wakers.drain(..).for_each(Waker::wake);
        batch.wakers = wakers;
        batch.clear();
    }

    /// Ends waits that have reached their limit.
    pub(super) fn expire(&self, now: Instant) {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        if state.writing.is_none() && state.waiting.is_empty() {
            return;
        }
        for (_, place) in &mut state.places {
            if place.expire(now) {
                self.count_refused(place.phase != Phase::Ending);
                wakers.extend(place.waker.take());
            }
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the writer has worked on one batch for longer than any request waits.
    pub(super) fn hangs(&self, now: Instant) -> bool {
        self.state.lock().hangs(now)
    }

    /// Bytes of records that exist only in memory.
    pub(super) fn waiting_bytes(&self) -> usize {
        let state = self.state.lock();
        state.waiting.bytes.len() + state.writing.map_or(0, |(_, bytes)| bytes)
    }

    /// Waits until the writer has finished everything handed over before the call.
    pub(super) async fn drained(&self) {
        let (last, mut done) = {
            let state = self.state.lock();
            (state.last, state.done.subscribe())
        };
        // Its sender lives as long as the queue.
        let _ = done.wait_for(|&done| done >= last).await;
    }

    /// Lets the writer end once nothing is left.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
    }

    /// Requests that were not let in so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }

    fn count_refused(&self, refused: bool) {
        let refused = u64::from(refused);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// A record was handed over. Somebody must wake the writer, unless it is working: then it looks again by itself.
    fn handed_in(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let is_full = state.waiting.entries.len() >= FULL_BATCH;
        if state.writing.is_some() || (state.kicked && !is_full) {
            return;
        }
        state.kicked = true;
        drop(state);
        match is_full {
            true => self.wake_writer(),
            false => kick_soon(self),
        }
    }

    fn wake_writer(&self) {
        self.state.lock().kicked = false;
        self.work.notify_one();
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.bytes.len() >= MOST_BYTES
    }

    fn hangs(&self, now: Instant) -> bool {
        self.writing
            .is_some_and(|(since, _)| now.saturating_duration_since(since) >= PATIENCE)
    }

    fn push(&mut self, what: What, record: &[u8]) {
        self.last += 1;
        self.waiting.push(what, record);
    }

    fn finish(&mut self, key: usize, record: &[u8], now: Instant) -> Finish {
        let hangs = self.hangs(now);
        let Some(place) = self.places.get_mut(key) else {
            return Finish::NeverStarted;
        };
        match place.phase {
            Phase::Ending | Phase::Ended => Finish::Queued,
            Phase::Refused => Finish::NeverStarted,
            Phase::Starting if place.number > self.taken => {
                place.phase = Phase::Refused;
                // The waiting records are those after the last one taken.
                let index = place.number - self.taken - 1;
                self.waiting.withdraw(index);
                Finish::NeverStarted
            }
            Phase::Starting | Phase::Open => {
                place.end(now, hangs);
                let reserve = place.reserve;
                self.push(What::Final { key, reserve }, record);
                Finish::Queued
            }
        }
    }

    /// A final record is written, or is kept where it will not be lost.
    fn ended(&mut self, key: usize) -> Option<Waker> {
        let place = self.places.get_mut(key)?;
        place.phase = Phase::Ended;
        match place.orphan {
            true => self.places.try_remove(key)?.waker,
            false => place.waker.take(),
        }
    }
}
